"""Meta-training: a model learns to learn, from the streams of a task.

Streams are read in segments. Gradients stop at the start of each, what was taught does not:
truncated back-propagation through time. Each segment of which steps are scored is followed by an
update of the weights.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from sparsemeta import run as engine
from sparsemeta.config import to_dict
from sparsemeta.errors import TrainingError, require
from sparsemeta.streams.stream import Stream, Task


@dataclass(frozen=True)
class TrainingConfig:
    """How a model is meta-trained."""

    steps: int = 100
    """Batches of streams."""
    batch: int = 16
    """Streams in a batch."""
    segment: int = 256
    """Steps of a stream that a gradient goes back through."""
    learning_rate: float = 3e-3
    """Of AdamW, at its highest."""
    warmup: int = 10
    """Batches over which it rises; then it falls as half a cosine."""
    clip: float = 1.0
    """Norm that a gradient is scaled down to."""
    precision: engine.Precision = "32-true"
    """bf16-mixed runs the forward pass under autocast."""
    seed: int = 0
    """Of the streams: the same streams for all models that are compared."""
    checkpoint_every: int = 100
    """Batches between checkpoints."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "segment", "warmup", "checkpoint_every"):
            require(getattr(self, name) >= 1, f"training.{name} must be at least 1")


def train(
    model: nn.Module,
    task: Task,
    config: TrainingConfig,
    run: str | Path,
    *,
    progress: engine.Progress | None = None,
) -> None:
    """Train a model in place, or go on with it; stopped and resumed gives the same weights.

    Args:
        model: called like a `StreamLearner`; it stays on the device where it was trained.
        task: what its streams are of.
        config: how.
        run: folder of `log.jsonl` and `checkpoints/`.
        progress: where to show how it goes; nothing is shown without it.

    Raises:
        ConfigError: the newest checkpoint is of another task or configuration.
        CheckpointError: it is damaged, or of another model; or a new one cannot be written.
        TrainingError: the loss or its gradient is not finite, or another process trains in `run`.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    run, progress = Path(run), progress or engine.Progress(quiet=True)
    runner = engine.Engine(precision=config.precision, seed=config.seed)
    forward, optimizer = runner.setup(model), torch.optim.AdamW(model.parameters())
    runner.setup_optimizer(optimizer)
    about = {"task": repr(task), "config": to_dict(config)}
    with engine.locked(run), engine.signals_deferred() as stop:
        session = engine.Session(model, optimizer, run / "checkpoints", about)
        session.restore()
        with (
            engine.JsonlLog(run / "log.jsonl", step=session.step) as log,
            progress.track(session.step, config.steps),
        ):
            while session.step < config.steps:
                record = _take_step(session, forward, runner, task, config)
                log.write(record)
                progress.show(session.step, f"step {session.step}  loss {record['loss']:.4f}")
                last = stop.made or session.step == config.steps
                if last or session.step % config.checkpoint_every == 0:
                    session.save()
                if stop.made and session.step < config.steps:
                    raise engine.Interrupted(
                        f"Stopped and saved after step {session.step} in {run}."
                    )


def _take_step(
    session: engine.Session,
    forward: Callable[..., Any],
    runner: engine.Engine,
    task: Task,
    config: TrainingConfig,
) -> dict[str, float]:
    """Read a batch of streams, and return its line of the log."""
    began = time.perf_counter()
    for group in session.optimizer.param_groups:
        share = engine.cosine(session.step, config.steps, config.warmup)
        group["lr"] = config.learning_rate * share
    # Of a seed, torch's generator on a CPU takes the lowest 32 bits alone.
    generator = torch.Generator().manual_seed((config.seed << 20) + session.step)
    stream = task.sample(config.batch, generator).to(runner.device)
    session.model.train()
    session.step += 1
    state, losses, norm = None, [], 0.0
    for cut in zip(*(tensor.split(config.segment, dim=1) for tensor in stream), strict=True):
        part = Stream(*cut)
        scored = bool(part.scored.any())
        with torch.set_grad_enabled(scored):
            predicted, state = forward(part.input, part.feedback, part.taught, state)
        state = state.detach()
        if scored:
            loss = _loss(predicted, part)
            runner.backward(loss)
            losses.append(loss.item())
            norm = runner.clip_gradients(config.clip)
            if not (math.isfinite(losses[-1]) and math.isfinite(norm)):
                raise TrainingError(
                    f"step {session.step}: the loss is {losses[-1]} and the norm of its gradient "
                    f"{norm}. Try a learning_rate below {config.learning_rate}."
                )
            runner.step()
    loss, seconds = sum(losses) / len(losses), round(time.perf_counter() - began, 3)
    return {"step": session.step, "loss": loss, "grad_norm": norm, "seconds": seconds}


def _loss(predicted: Tensor, part: Stream) -> Tensor:
    """Cross-entropy in nats, or mean squared error, over the scored steps."""
    found, target = predicted[part.scored].float(), part.target[part.scored]
    return (mse_loss if target.is_floating_point() else cross_entropy)(found, target)
