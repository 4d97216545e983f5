"""What a family of models brings to its training."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeVar

from torch import Tensor, nn
from torch.optim import Optimizer

from sparsemeta.errors import TrainingError
from sparsemeta.run.checkpoints import Checkpoint, load_weights, restore_optimizer
from sparsemeta.run.config import REMEDY, TrainingConfig
from sparsemeta.run.engine import Engine, whole

M = TypeVar("M", bound=nn.Module)
C = TypeVar("C", bound=TrainingConfig)


class Learner(ABC, Generic[M, C]):
    """A model in training: one step of it, and what a checkpoint of it holds.

    Args:
        model: on the CPU, whole; it stays on the device where it is trained.
        optimizer: makes the optimizer, once the parameters are where they are trained.
        saved: the checkpoint to go on from.

    Attributes:
        forward: the model's forward pass in the engine's precision.
        step: steps done.
        latest: the newest checkpoint.
        kept: how many checkpoints are kept.
    """

    kept = 1

    def __init__(
        self,
        model: M,
        optimizer: Callable[[M], Optimizer],
        config: C,
        engine: Engine,
        saved: Checkpoint | None = None,
    ):
        self.config, self.engine, self.model = config, engine, model
        self.step, self.latest = (saved.step, saved.folder) if saved else (0, None)
        if saved:
            load_weights(saved.weights, model)
        self.forward = engine.setup(model)
        self.optimizer = optimizer(model)
        if saved:
            restore_optimizer(model, self.optimizer, saved.tensors("optimizer"))

    @abstractmethod
    def take_step(self) -> dict[str, Any]:
        """Learn once, and count it; returns the step's line of the log."""

    @abstractmethod
    def status(self, record: dict[str, Any]) -> str:
        """A line of the log in a few words."""

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step >= self.config.updates

    def review(self) -> tuple[dict[str, Any], str] | None:
        """Look at what the step made of the model: a further line for the log, and it in words."""
        return None

    @property
    def best(self) -> int | None:
        """The step whose checkpoint is worth keeping, however old it is."""
        return None

    def facts(self) -> dict[str, Any]:
        """What a checkpoint holds beside tensors, ready for JSON."""
        return {}

    def tensors(self) -> dict[str, Tensor]:
        """What it holds beside weights, optimizer and random state; all processes call this."""
        return {}

    def write(self, folder: Path) -> None:
        """Write what makes a checkpoint a folder that others can use."""

    def after_save(self, folder: Path) -> None:
        """Note that a checkpoint was written."""
        self.latest = folder

    def set_rate(self) -> float:
        """Set the learning rate of the next step, and return it; a group may have a share of it."""
        rate = self.config.rate(self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("share", 1.0)
        return rate

    def descend(self, loss: float) -> float:
        """Let the optimizer use the gradients of a loss; returns their L2 norm before clipping.

        Where the loss or the norm is not finite, a TrainingError, and no weight is changed.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        norm = float(whole(nn.utils.clip_grad_norm_(parameters, self.config.clip)))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            kept = f"{self.latest} is untouched" if self.latest else "nothing was saved"
            raise TrainingError(
                f"step {self.step + 1}: the loss is {loss} and the norm of its gradient {norm}, so "
                f"training stopped; {kept}. Try --{self.config.section}.learning-rate "
                f"{self.config.learning_rate / 2:.2g}: {REMEDY}."
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm
