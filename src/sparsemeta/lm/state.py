"""`LMState`: all that a language model carries from one segment to the next."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import Pending


@dataclass(frozen=True)
class LMState:
    """All that a language model carries from one segment to the next.

    Attributes:
        memory: the fast weights of all memory blocks; what adapts, and what is worth saving.
        window: per block, the last keys and values (B, heads, at most window - 1, width / heads);
            nothing at all is an empty window.
        real: (B,) int64, how many keys of the window are real, the last ones; None where all are.
        pending: what was predicted of the next token, for the gate to learn from; None if nothing.
    """

    memory: FastWeights
    window: tuple[tuple[Tensor, Tensor], ...] = ()
    real: Tensor | None = None
    pending: Pending | None = None

    @property
    def batch(self) -> int:
        """How many streams it holds (B)."""
        return len(next(iter(self.tensors().values())))

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def detach(self) -> Self:
        """The same values, cut off from the graph: the end of a truncated segment."""
        return self._map(Tensor.detach)

    def clone(self) -> Self:
        """A copy that shares no storage."""
        return self._map(Tensor.clone)

    def to(self, device: torch.device | str) -> Self:
        """The same state on another device, but for tables."""
        moved = self._map(lambda tensor: tensor.to(device))
        return replace(moved, memory=self.memory.to(device))

    def select(self, rows: Tensor | list[int] | slice) -> Self:
        """Some of the streams, some perhaps more than once: indices or a boolean mask over B."""

        def chosen(tensor: Tensor) -> Tensor:  # tables lie in host memory, whatever the device
            return tensor[rows.to(tensor.device) if isinstance(rows, Tensor) else rows]

        return self._map(chosen)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as `from_tensors` takes them."""
        found = {f"memory.{name}": tensor for name, tensor in self.memory.tensors().items()}
        for i, (k, v) in enumerate(self.window):
            found[f"window.{i}.k"], found[f"window.{i}.v"] = k, v
        if self.real is not None:
            found["real"] = self.real
        if self.pending is not None:
            found |= {f"pending.{name}": x for name, x in self.pending._asdict().items()}
        return found

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """The streams of several states side by side, none of which has padding."""
        layers = zip(*(part.window for part in parts), strict=True)
        window = tuple((torch.cat([k for k, _ in r]), torch.cat([v for _, v in r])) for r in layers)
        predicted = [part.pending for part in parts if part.pending is not None]
        pending = Pending(*map(torch.cat, zip(*predicted, strict=True))) if predicted else None
        memory = FastWeights.concat([part.memory for part in parts])
        return cls(memory, window, pending=pending)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `tensors`."""
        prefix = "memory."
        memory = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        layers = sum(name.startswith("window.") for name in tensors) // 2
        window = tuple((tensors[f"window.{i}.k"], tensors[f"window.{i}.v"]) for i in range(layers))
        names = [f"pending.{name}" for name in Pending._fields]
        pending = Pending(*(tensors[name] for name in names)) if names[0] in tensors else None
        return cls(FastWeights.from_tensors(memory), window, tensors.get("real"), pending)

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self.from_tensors({k: change(t) for k, t in self.tensors().items()})
