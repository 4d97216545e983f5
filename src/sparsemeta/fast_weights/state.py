"""`FastWeights`: what a network has learned while running, as an immutable value.

A layer takes it and returns a new one; nothing is ever stored in the module. So a state can be
kept, forked, compared and erased, and distributed wrappers, which broadcast buffers, cannot destroy
it. On disk it holds the touched rows only, with the fingerprint of the model that made it.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Self

import torch
from torch import Tensor, nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import file
from sparsemeta.fast_weights.base import LayerState
from sparsemeta.fast_weights.blueprint import Blueprint
from sparsemeta.fast_weights.cached import CachedStates
from sparsemeta.fast_weights.file import Origin
from sparsemeta.fast_weights.layer import LayerWeights
from sparsemeta.fast_weights.tables import TableWeights


@dataclass(frozen=True)
class FastWeights:
    """The states of all adapted layers of one model, by layer name; B streams side by side."""

    layers: Mapping[str, LayerState]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self.from_tensors({k: change(t) for k, t in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as `from_tensors` takes them."""
        return {
            f"{name}.{part}": tensor
            for name, layer in self.layers.items()
            for part, tensor in layer.tensors().items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `tensors`."""
        parts = defaultdict(dict)
        for key, tensor in tensors.items():
            name, _, part = key.rpartition(".")
            parts[name][part] = tensor
        return cls({name: _kind(found)(**found) for name, found in parts.items()})

    def child(self, name: str) -> Self:
        """The part of one sub-module: the inverse of `join`."""
        prefix = name + "."
        found = {k.removeprefix(prefix): v for k, v in self.layers.items() if k.startswith(prefix)}
        return type(self)(found)

    @classmethod
    def join(cls, children: Mapping[str, Self]) -> Self:
        """The states of named sub-modules as the state of the module around them."""
        return cls(
            {f"{name}.{k}": v for name, child in children.items() for k, v in child.layers.items()}
        )

    @property
    def batch(self) -> int:
        """How many streams it holds (B)."""
        return next(iter(self.layers.values())).shape[0]

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
        """The same state on another device, but for tables; its dtypes never change."""
        return type(self)({name: layer.to(device) for name, layer in self.layers.items()})

    def select(self, rows: Tensor | list[int] | slice) -> Self:
        """Some of the streams: indices or a boolean mask over B."""

        def chosen(tensor: Tensor) -> Tensor:  # layers may lie on different devices
            return tensor[rows.to(tensor.device) if isinstance(rows, Tensor) else rows]

        return self._map(chosen)

    @classmethod
    def concat(cls, states: list[Self]) -> Self:
        """Streams of several states of one model side by side."""
        kinds = {tuple((k, type(layer)) for k, layer in state.layers.items()) for state in states}
        if len(kinds) != 1:
            raise StateError("concat needs states of one model: their layers differ")
        return cls({k: kind.concat([s.layers[k] for s in states]) for k, kind in kinds.pop()})

    def reset(self, mask: Tensor | None = None, *, layers: Collection[str] | None = None) -> Self:
        """Forget: an empty memory.

        Args:
            mask: (B,) bool, which streams; all if None.
            layers: the names of the layers; all if None.

        Raises:
            StateError: it has no layer of such a name.
        """
        unknown = set(layers or ()) - self.layers.keys()
        if unknown:
            raise StateError(
                f"no layer is called {', '.join(sorted(unknown))}. The layers are "
                f"{', '.join(self.layers)}."
            )
        if mask is None:
            mask = torch.ones(self.batch, dtype=torch.bool)
        chosen = self.layers.keys() if layers is None else layers
        return type(self)(
            {k: layer.reset(mask) if k in chosen else layer for k, layer in self.layers.items()}
        )

    def stats(self) -> dict[str, dict[str, float]]:
        """Per layer: how much it holds, by `LayerWeights.stats` or `TableWeights.stats`."""
        return {name: layer.stats() for name, layer in self.layers.items()}

    def diff(self, earlier: Self) -> dict[str, dict[str, float]]:
        """What changed since an earlier state of the streams, layer by layer."""
        self._require_alike(earlier)
        return {k: layer.diff(earlier.layers[k]) for k, layer in self.layers.items()}

    def merge(self, other: Self, base: Self | None = None) -> Self:
        """What this state and another learned since their common ancestor.

        `LayerWeights.merge` and `TableWeights.merge` have the rules. All are states of the same
        model and streams; the base is None if both began empty. What is returned has read the
        steps of both.
        """
        self._require_alike(other)
        if base is not None:
            self._require_alike(base)
        return type(self)(
            {k: a.merge(other.layers[k], base and base.layers[k]) for k, a in self.layers.items()}
        )

    def _require_alike(self, other: Self) -> None:
        """Raise `StateError` unless both have the same layers, streams and shapes."""
        shapes, others = (
            {name: (type(layer).__name__, *layer.shape) for name, layer in state.layers.items()}
            for state in (self, other)
        )
        if shapes != others:
            raise StateError(f"these are not two states of one model: {shapes} and {others}")

    def encode(self, origin: Origin) -> bytes:
        """What `save` would write: the same bytes whenever it is the same memory."""
        return file.encode(self.layers, origin)

    def save(self, path: str | Path, model: nn.Module | Origin) -> None:
        """Write the touched rows to a safetensors file, aside first, then renamed into place.

        Args:
            path: the file.
            model: the model whose memory this is; its fingerprint goes into the file. Or the origin
                of this memory, as `read_origin` gives it.

        Raises:
            StateError: the file cannot be written; what was there is there still.
        """
        origin = model if isinstance(model, Origin) else Origin(file.fingerprint(model))
        file.save(Path(path), self.layers, origin)

    @classmethod
    def load(cls, path: str | Path, model: nn.Module | Blueprint | None) -> Self:
        """Read a memory back, bit for bit, in the form that the model's layers want.

        Args:
            path: the file.
            model: the model that will use it, or its blueprint, which is checked more strictly and
                without hashing the weights again; None to look at a memory without its model, in
                the growing form.

        Raises:
            StateError: the file is missing, damaged, holds values that are not finite, was made by
                another model, or is more than `memory.capacity` of this one or the machine holds.
        """
        return cls(file.load(Path(path), model))


def _kind(parts: Mapping[str, Tensor]) -> type[LayerState]:
    """Of which kind a layer with such tensors is."""
    if "table" in parts:
        return LayerWeights
    return TableWeights if "theta" in parts else CachedStates
