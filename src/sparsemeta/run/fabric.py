"""Devices, precision and processes: the only file that knows Lightning Fabric."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsemeta.errors import ConfigError, MissingExtra, SparseMetaError
from sparsemeta.run.shards import whole

Precision = Literal["bf16-mixed", "32-true"]
Strategy = Literal["auto", "ddp", "fsdp"]
T = TypeVar("T")


def is_main() -> bool:
    """Whether this process writes files: the first of those that train together, or the only one.

    The others are told so by their environment, before they have an engine.
    """
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


class Engine:
    """A device, a precision, and the processes that train together.

    With several devices the running command is started once more for each further process. In all
    of them, every method must be called in the same order.

    Args:
        precision: bf16-mixed runs the forward pass under autocast; weights stay float32.
        devices: processes, each with a device of the machine's best kind.
        strategy: ddp has all weights in every process, fsdp a share of them; auto is ddp. With one
            device there is nothing to share.
        seed: of torch's random generators.

    Attributes:
        strategy: the one in use, never `auto`; None with one device.

    Raises:
        ConfigError: the machine has fewer devices.
    """

    strategy: Literal["ddp", "fsdp"] | None

    def __init__(
        self,
        *,
        precision: Precision,
        devices: int = 1,
        strategy: Strategy = "auto",
        seed: int = 0,
    ):
        try:
            from lightning_fabric import Fabric
            from lightning_fabric.utilities.exceptions import MisconfigurationException
        except ImportError:
            raise MissingExtra("lightning_fabric", "lm") from None
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        self.strategy = None if devices == 1 else "ddp" if strategy == "auto" else strategy
        chosen = _sharded(devices) if self.strategy == "fsdp" else self.strategy or "auto"
        try:
            self._fabric = Fabric(
                accelerator="auto", devices=devices, strategy=chosen, precision=precision
            )
        except MisconfigurationException as error:
            raise ConfigError(
                f"training.devices = {devices} cannot be had ({' '.join(str(error).split())}). "
                "Ask for as many as this machine has."
            ) from None
        self._fabric.launch()
        torch.manual_seed(seed)

    @property
    def device(self) -> torch.device:
        """Where batches belong."""
        return self._fabric.device

    @property
    def rank(self) -> int:
        """Which of the processes this is, counted from 0."""
        return self._fabric.global_rank

    @property
    def world(self) -> int:
        """How many processes there are."""
        return self._fabric.world_size

    def setup(self, model: nn.Module) -> Callable[..., Any]:
        """Move the model to the device, or this process's share of it.

        Returns:
            The model's forward pass in this engine's precision: same arguments, same results.
        """
        self._model = self._fabric.setup_module(_Sealed(model))
        return lambda *args, **options: self._model(_Box((args, options))).content

    def setup_optimizer(self, optimizer: Optimizer) -> None:
        """Take charge of an optimizer of the parameters that the model has after `setup`."""
        self._optimizer: Any = self._fabric.setup_optimizers(optimizer)

    def unsynchronised(self, enabled: bool) -> AbstractContextManager[None]:
        """Where gradients are only added up: forward and backward without those of the others."""
        return self._fabric.no_backward_sync(self._model, enabled=enabled)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scalar loss, averaged over the processes, to the parameters."""
        self._fabric.backward(loss)

    def clip_gradients(self, max_norm: float) -> float:
        """Scale the gradient down to `max_norm` and return the L2 norm that it had."""
        norm = self._fabric.clip_gradients(
            self._model, self._optimizer, max_norm=max_norm, error_if_nonfinite=False
        )
        return float(whole(norm))  # type: ignore[arg-type]

    def step(self) -> None:
        """Let the optimizer use the gradients, and forget them."""
        self._optimizer.step()
        self._optimizer.zero_grad()

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        if self.world == 1:
            return value
        total = value.clone()
        torch.distributed.all_reduce(total)  # Fabric's would wait for all processes once more
        return total / self.world

    def any(self, flag: bool) -> bool:
        """Whether it is so in any of the processes."""
        if self.world == 1:
            return flag
        return bool(self.mean(torch.tensor(float(flag), device=self.device)) > 0)

    def gather(self, value: T) -> list[T]:
        """The values of all processes in their order, for the main one; no values for the others.

        Args:
            value: anything that can be pickled; tensors are best on the CPU.
        """
        if self.world == 1:
            return [value]
        found: list[Any] | None = [None] * self.world if self.rank == 0 else None
        torch.distributed.gather_object(value, found)
        return found or []

    def once(self, work: Callable[[], T]) -> T:
        """Let the main process do some work; all return its result, or raise its error."""
        result = error = None
        if self.rank == 0:
            try:
                result = work()
            except SparseMetaError as raised:
                error = raised
        result, error = self._fabric.broadcast((result, error))
        if error is not None:
            raise error
        return result  # type: ignore[return-value]


class _Box:
    """A container that Fabric does not know, and so passes on unopened."""

    def __init__(self, content: Any):
        self.content = content


class _Sealed(nn.Module):
    """Hands a model's arguments and results past Fabric.

    Fabric rebuilds every container it can open to cast the tensors inside. A recurrent state is an
    immutable value with dtypes of its own, which that would break.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, box: _Box) -> _Box:
        args, options = box.content
        return _Box(self.model(*args, **options))


def _sharded(devices: int) -> Any:
    """A strategy in which every process holds a share of each weight and of its statistics."""
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy
    from torch.distributed.fsdp import fully_shard

    # Fully sharded modules return views; nothing is written into ours.
    warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")

    def parallelize(sealed: _Sealed, mesh: Any) -> _Sealed:
        # Inside the seal: sharding finds the tensors of the loss in what the model returns.
        fully_shard(sealed.model, mesh=mesh["data_parallel"])
        return sealed

    return ModelParallelStrategy(parallelize, data_parallel_size=devices, tensor_parallel_size=1)
