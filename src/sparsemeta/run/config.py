"""The settings that all trainings have, and the learning rate's course; no torch."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from sparsemeta.config import Above, AtLeast, Count, Settings, Within

Precision = Literal["bf16-mixed", "32-true"]
Strategy = Literal["auto", "ddp", "fsdp"]

Positive = Annotated[float, Above(0)]
Steps = Annotated[int, AtLeast(0)]
"""A number of steps that may be none."""

REMEDY = "begin anew with --restart, or choose another --run"
"""What can be done where going on cannot."""


@dataclass(frozen=True)
class TrainingConfig(Settings, section="training"):
    """What every training has; each family adds its own."""

    free: ClassVar[frozenset[str]] = frozenset({"tensorboard"})
    """Settings that may change when a run is taken up again: others would make it another run."""

    steps: Count = 500
    """How many steps the whole run takes."""
    learning_rate: Positive = 2e-3
    """The learning rate at its peak."""
    warmup: Steps = 50
    """How many steps the learning rate rises; from its peak it falls as half a cosine."""
    final_rate: Annotated[float, Within(0, 1)] = 0.0
    """The learning rate at the end of the run, as a fraction of its peak."""
    clip: Positive = 1.0
    """The largest norm of a step's gradient; a longer gradient is scaled down to it."""
    seed: int = 0
    """The seed of the initial weights and of everything that is drawn while training."""
    checkpoint_every: Count = 100
    """How many steps lie between checkpoints."""
    tensorboard: bool = False
    """Whether the log is also written for TensorBoard."""

    @property
    def updates(self) -> int:
        """How many steps a run takes, as its checkpoints count them."""
        return self.steps

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return self.learning_rate * cosine(step, self.updates, self.warmup, self.final_rate)


def cosine(step: int, steps: int, warmup: int, floor: float = 0.0, *, ahead: int = 0) -> float:
    """The share of its highest value that a learning rate has at a step, counted from 0.

    Linear warm-up, then half a cosine (Loshchilov and Hutter 2017) down to `floor`, which the last
    step has already if `ahead` is 1, and the step after it would have if 0.
    """
    if step < warmup:
        return (step + 1) / warmup
    fall = min(1.0, (step + ahead - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * (1 + math.cos(math.pi * fall)) / 2
