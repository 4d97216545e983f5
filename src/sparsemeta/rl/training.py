"""Training an agent: play a segment, learn from it, and so on; and reading what was trained."""

import time
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam

from sparsemeta import run as engine
from sparsemeta.errors import CheckpointError
from sparsemeta.rl import ppo
from sparsemeta.rl.agent import ActorCritic, make
from sparsemeta.rl.config import Recipe, TrainingConfig
from sparsemeta.rl.environments import VectorEnv
from sparsemeta.rl.rollout import Collector


def train(
    recipe: Recipe, run: str | Path, *, resume: bool = True, progress: engine.Progress | None = None
) -> ActorCritic:
    """Train an agent by a recipe, or go on where the run was stopped.

    Args:
        recipe: what to train, and how.
        run: folder of `recipe.toml`, `log.jsonl` and `checkpoints/`.
        resume: go on from the newest checkpoint in `run`; otherwise begin anew and delete it.
        progress: where to show how it goes; nothing is shown without it.
    """
    learner = partial(Learner, recipe, make(recipe.environment, recipe.training.environments))
    return engine.fit(learner, recipe, run, resume=resume, progress=progress).model


def load(path: str | Path) -> tuple[ActorCritic, Recipe]:
    """The newest agent of a run, or that of one checkpoint, and the recipe it was trained by."""
    folder = engine.newest(Path(path) / "checkpoints") or Path(path)
    if not (folder / "training.json").exists():
        raise CheckpointError(
            f"{path}: there is no trained agent. Name the folder of a run of `sparsemeta rl train`."
        )
    saved = engine.Checkpoint.read(folder)
    recipe = saved.recipe(Recipe)
    world = make(recipe.environment, 1)
    build = partial(ActorCritic, world.width, world.actions, recipe.agent)
    return engine.load_model(saved.weights, build).eval(), recipe


class Learner(engine.Learner[ActorCritic, TrainingConfig]):
    """An agent in training, and where it plays.

    Whenever a checkpoint was written all episodes begin anew, by a generator of that step's own: so
    they need not be saved.
    """

    def __init__(self, recipe: Recipe, world: VectorEnv, saved: engine.Checkpoint | None = None):
        runner = engine.Engine(seed=recipe.training.seed)
        agent = ActorCritic(world.width, world.actions, recipe.agent)
        self._world = world
        self._collector: Collector | None = None
        self._earned: float | None = None  # by the episodes that ended last
        adam = partial(Adam, eps=1e-5)
        super().__init__(agent, lambda m: adam(m.parameters()), recipe.training, runner, saved)

    def take_step(self) -> dict[str, Any]:
        """Play a segment and learn from it."""
        config, began = self.config, time.perf_counter()
        self.set_rate()
        collector = self._collector = self._collector or self._begin()
        rollout = collector.collect()
        entropy = config.entropy * (1 - self.step / config.updates)
        found = ppo.update(self.forward, self._learn, rollout, config, entropy)
        if collector.returns:
            self._earned, collector.returns = fmean(collector.returns), []
        self.step += 1
        return {
            "step": self.step,
            "return": self._earned,
            **found,
            "environment_steps": self.step * config.environments * config.segment,
            "seconds": round(time.perf_counter() - began, 4),
        }

    def status(self, record: dict[str, Any]) -> str:
        """What it earns, and how fast it plays."""
        speed = self.config.environments * self.config.segment / (record["seconds"] or 1)
        found = record["return"]
        return f"{'' if found is None else f'return {found:.2f}  '}{speed:,.0f} steps/s"

    def after_save(self, folder: Path) -> None:
        """Let all episodes begin anew."""
        super().after_save(folder)
        self._collector = None

    def _begin(self) -> Collector:
        seed = (self.config.seed << 20) + self.step
        generator = torch.Generator(self.engine.device).manual_seed(seed)
        return Collector(self.model, self._world, generator, self.config)

    def _learn(self, loss: Tensor) -> float:
        loss.backward()
        return self.descend(loss.item())
