"""Meta-training: a model learns to learn, from the streams of a task.

Streams are read in segments. Gradients stop at the start of each, what was taught does not. Each
segment of which steps are scored is followed by an update (truncated back-propagation in time).
"""

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import AdamW

from sparsemeta import run as engine
from sparsemeta.config import Count
from sparsemeta.streams.stream import Stream, Task


@dataclass(frozen=True)
class TrainingConfig(engine.TrainingConfig, section="training"):
    """How a model is meta-trained."""

    steps: Count = 100  # how many batches of streams are learned from
    batch: Count = 16  # how many streams are in a batch
    segment: Count = 256  # how many steps of a stream a gradient goes back through
    learning_rate: engine.Positive = 3e-3  # the learning rate of AdamW at its peak
    warmup: engine.Steps = 10
    """How many batches the learning rate rises; from its peak it falls as half a cosine."""
    precision: engine.Precision = "32-true"
    """bf16-mixed runs the forward pass under autocast; 32-true computes in float32 throughout."""


@dataclass(frozen=True)
class Recipe:
    """All that decides a run."""

    task: str
    training: TrainingConfig


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
        config: how it is trained.
        run: the folder, as of `run.fit`, which says what is raised.
        progress: where to show how it goes; nothing is shown without it.
    """
    learner = partial(_Learner, model, task, config)
    engine.fit(learner, Recipe(repr(task), config), run, progress=progress)


class _Learner(engine.Learner[nn.Module, TrainingConfig]):
    """A model that learns from a batch of streams in a step; they are drawn anew by the step."""

    def __init__(
        self, model: nn.Module, task: Task, config: TrainingConfig, saved: engine.Checkpoint | None
    ):
        runner = engine.Engine(precision=config.precision, seed=config.seed)
        super().__init__(model, lambda m: AdamW(m.parameters()), config, runner, saved)
        self._task = task

    def take_step(self) -> dict[str, Any]:
        began, config = time.perf_counter(), self.config
        self.set_rate()
        # Of a seed, torch's generator on a CPU takes the lowest 32 bits alone.
        generator = torch.Generator().manual_seed((config.seed << 20) + self.step)
        stream = self._task.sample(config.batch, generator).to(self.engine.device)
        self.model.train()
        state, losses, norm = None, [], 0.0
        for cut in zip(*(tensor.split(config.segment, dim=1) for tensor in stream), strict=True):
            part = Stream(*cut)
            scored = bool(part.scored.any())
            with torch.set_grad_enabled(scored):
                predicted, state = self.forward(part.input, part.feedback, part.taught, state)
            state = state.detach()
            if scored:
                found, target = predicted[part.scored].float(), part.target[part.scored]
                loss = (mse_loss if target.is_floating_point() else cross_entropy)(found, target)
                loss.backward()
                losses.append(loss.item())
                norm = self.descend(losses[-1])
        self.step += 1
        loss, seconds = sum(losses) / len(losses), round(time.perf_counter() - began, 3)
        return {"step": self.step, "loss": loss, "grad_norm": norm, "seconds": seconds}

    def status(self, record: dict[str, Any]) -> str:
        return f"loss {record['loss']:.4f}"
