"""Training an agent: play a segment, learn from it, and so on."""

from __future__ import annotations

import math
import time
from pathlib import Path
from statistics import fmean

import torch
from torch import Tensor

from sparsemeta import run as engine
from sparsemeta.config import write_toml
from sparsemeta.errors import TrainingError
from sparsemeta.rl import a2c, ppo
from sparsemeta.rl.agent import ActorCritic
from sparsemeta.rl.checkpoint import about
from sparsemeta.rl.config import Recipe, TrainingConfig
from sparsemeta.rl.making import make
from sparsemeta.rl.rollout import Collector

ALGORITHMS = {"a2c": a2c.update, "ppo": ppo.update}


def train(
    recipe: Recipe,
    run: str | Path,
    *,
    resume: bool = True,
    progress: engine.Progress | None = None,
) -> ActorCritic:
    """Train an agent by a recipe, or go on where the run was stopped.

    Args:
        recipe: what and how.
        run: folder of `recipe.toml`, `log.jsonl` and `checkpoints/`.
        resume: go on from the newest checkpoint in `run`; otherwise begin anew and delete it.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        The trained agent.

    Raises:
        ConfigError: the environment cannot be made, or the newest checkpoint is of another recipe.
        CheckpointError: it is damaged, or a new one cannot be written.
        StreamError: the environment answers with what is no number.
        TrainingError: a loss or gradient is not finite, or another process trains in `run`.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    run, progress, config = Path(run), progress or engine.Progress(quiet=True), recipe.training
    world = make(recipe.environment, config.environments)
    runner = engine.Engine(precision="32-true", seed=config.seed)
    agent = ActorCritic(world.width, world.actions, recipe.agent)
    learner = Learner(agent, config, runner)
    total = config.segments
    with engine.locked(run), engine.signals_deferred() as stop:
        session = engine.Session(agent, learner.optimizer, run / "checkpoints", about(recipe))
        if not resume:
            engine.prune(session.checkpoints, keep=0)
        session.restore()
        write_toml(run / "recipe.toml", recipe)
        with (
            engine.JsonlLog(run / "log.jsonl", step=session.step) as log,
            progress.track(session.step, total),
        ):
            while session.step < total:
                generator = torch.Generator(runner.device)
                generator.manual_seed((config.seed << 20) + session.step)
                collector = Collector(agent, world, generator, config)
                until = min(
                    total, (session.step // config.checkpoint_every + 1) * config.checkpoint_every
                )
                while session.step < until and not stop.made:
                    record = learner.take_step(collector, session.step)
                    session.step += 1
                    log.write({"step": session.step, **record})
                    progress.show(session.step, _status(record, config))
                session.save()
                if stop.made and session.step < total:
                    raise engine.Interrupted(
                        f"Stopped and saved after segment {session.step} in {run}. The same "
                        "command goes on from there."
                    )
    return agent


class Learner:
    """An agent, its optimizer, and one update of it."""

    def __init__(self, agent: ActorCritic, config: TrainingConfig, runner: engine.Engine):
        self.config, self.runner = config, runner
        self.forward = runner.setup(agent)
        self.optimizer = torch.optim.Adam(agent.parameters(), eps=1e-5)
        runner.setup_optimizer(self.optimizer)
        self.update = ALGORITHMS[config.algorithm]
        self.earned: float | None = None

    def take_step(self, collector: Collector, step: int) -> dict[str, float | None]:
        """Play a segment and learn from it; returns its line of the log."""
        config, began = self.config, time.perf_counter()
        share = engine.cosine(step, config.segments, config.warmup, floor=0.02)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * share
        rollout = collector.collect()
        entropy = config.entropy * (1 - step / config.segments)
        found = self.update(self.forward, self.descend, rollout, config, entropy)
        if collector.returns:
            self.earned, collector.returns = fmean(collector.returns), []
        return {
            "return": self.earned,  # of the episodes that ended last
            **found,
            "environment_steps": (step + 1) * config.environments * config.segment,
            "seconds": round(time.perf_counter() - began, 4),
        }

    def descend(self, loss: Tensor) -> float:
        """Take a step down the gradient of a loss; returns the gradient's norm."""
        self.runner.backward(loss)
        norm = self.runner.clip_gradients(self.config.max_norm)
        if not math.isfinite(norm):
            raise TrainingError(
                f"the loss is {loss.item()} and the norm of its gradient {norm}. Try a "
                f"training.learning_rate below {self.config.learning_rate}."
            )
        self.runner.step()
        return norm


def _status(record: dict[str, float | None], config: TrainingConfig) -> str:
    speed = config.environments * config.segment / (record["seconds"] or 1)
    found = record["return"]
    earned = "" if found is None else f"return {found:.2f}  "
    return f"step {record['environment_steps']:,}  {earned}{speed:,.0f} steps/s"
