"""Training: set up, then step, log and save until done.

Streams of text are read side by side. Gradients stop at the start of each segment, the state does
not: truncated back-propagation through time.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from torch.nn.functional import cross_entropy

from sparsemeta.config import write_toml
from sparsemeta.engine import Interrupted, JsonlLog, Progress, newest, prune, signals_deferred
from sparsemeta.errors import TrainingError
from sparsemeta.lm.config import Recipe, TrainingConfig
from sparsemeta.lm.session import REMEDY, Session, set_up


def train(
    recipe: Recipe, run: str | Path, *, resume: bool = True, progress: Progress | None = None
) -> Path:
    """Train a language model, or go on training it.

    A run that is stopped and resumed gives, bit for bit, the weights of one that was not.

    Args:
        recipe: everything that decides the result.
        run: folder of the run: `recipe.toml`, `log.jsonl` and `checkpoints/`.
        resume: go on from the newest checkpoint in `run`; otherwise begin anew and delete it.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        The last checkpoint's folder, a model folder for `load_model`.

    Raises:
        ConfigError: the newest checkpoint was trained with another recipe.
        CorpusError: the text cannot be read, or is not the one that the run began with.
        CheckpointError: the newest checkpoint is damaged.
        TrainingError: the loss or its gradient is not finite.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    run, config = Path(run), recipe.training
    progress = progress or Progress(quiet=True)
    checkpoints = run / "checkpoints"
    latest = newest(checkpoints) if resume else None
    session = set_up(recipe, latest, progress)
    if latest is None:
        prune(checkpoints, keep=0)
    elif session.step == config.steps:
        return latest
    run.mkdir(parents=True, exist_ok=True)
    write_toml(run / "recipe.toml", recipe)

    with (
        signals_deferred() as stop,
        JsonlLog(run / "log.jsonl", step=session.step) as log,
        progress.track(session.step, config.steps),
    ):
        while True:
            record = take_step(session, latest)
            log.write(record)
            progress.update(session.step, record["loss"], config.streams * config.segment)
            last = session.step == config.steps or stop.made
            if last or session.step % config.checkpoint_every == 0:
                latest = session.save(checkpoints)
                if last:
                    break
    if session.step < config.steps:
        raise Interrupted(
            f"Stopped after step {session.step} of {config.steps}; saved in {latest}. "
            "Run the same command (without --restart) to go on."
        )
    return latest


def take_step(session: Session, latest: Path | None) -> dict[str, Any]:
    """One optimizer step on the next segment of every stream.

    Args:
        session: what is trained; its state is carried into the step and out of it.
        latest: the last checkpoint, named in the error.

    Returns:
        The step's line of the log; loss in nats per token, learning_rate, grad_norm before
        clipping, tokens and seconds since the first step, tokens_per_second of this one.

    Raises:
        TrainingError: the loss or its gradient is not finite; no weight has been changed.
    """
    began = time.perf_counter()
    config, engine = session.recipe.training, session.engine
    rate = learning_rate(session.step + 1, config)
    for group in session.optimizer.param_groups:
        group["lr"] = rate

    batch = session.streams.next_batch()
    tokens = batch.tokens.to(engine.device)
    logits, state = session.forward(tokens, session.state, overwrite=True)
    targets = batch.targets.to(engine.device)
    loss = cross_entropy(logits.float().flatten(0, 1), targets.flatten())
    engine.backward(loss)
    norm = engine.clip_gradients(config.clip)
    nats = loss.item()
    if not (math.isfinite(nats) and math.isfinite(norm)):
        raise _diverged(session, nats, norm, latest)
    engine.step()

    count, seconds = targets.numel(), time.perf_counter() - began
    session.state = state.detach()
    session.step += 1
    session.seconds += seconds
    return {
        "step": session.step,
        "loss": nats,
        "learning_rate": rate,
        "grad_norm": norm,
        "tokens": session.step * count,
        "seconds": round(session.seconds, 3),
        "tokens_per_second": round(count / seconds, 1),
    }


def learning_rate(step: int, config: TrainingConfig) -> float:
    """The rate of a step counted from 1: linear warm-up, then half a cosine to the final rate."""
    if step <= config.warmup:
        return config.learning_rate * step / config.warmup
    part = (step - config.warmup) / (config.steps - config.warmup)
    fraction = config.final_rate + (1 - config.final_rate) * (1 + math.cos(math.pi * part)) / 2
    return config.learning_rate * fraction


def _diverged(session: Session, loss: float, norm: float, latest: Path | None) -> TrainingError:
    kept = f"{latest}, the last good checkpoint, is untouched" if latest else "nothing was saved"
    lower = session.recipe.training.learning_rate / 2
    return TrainingError(
        f"step {session.step + 1}: the loss is {loss} and the norm of its gradient {norm}, so "
        f"training stopped; {kept}. Try --training.learning-rate {lower:.2g}: {REMEDY}."
    )
