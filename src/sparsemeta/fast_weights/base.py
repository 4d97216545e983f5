"""`LayerState`: what the states of all kinds of layers have in common."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from sparsemeta.errors import StateError

Shape = tuple[int, ...]
FLOATS = ("F32", "F64")
"""Of what a memory holds, as safetensors calls them."""
MACHINE = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
"""Bytes of memory that this machine has."""


@dataclass(frozen=True)
class LayerState(ABC):
    """The state of one layer for B streams: tensors, all of them batch first.

    Where another state is asked for, it is one of the same kind.
    """

    layout_type: ClassVar[type]
    """Of the attribute `layout` of the modules that have such a state; its `shape` is that of the
    state without B."""
    parts: ClassVar[tuple[str, ...]]
    """What `stored` gives, by name and in this order."""
    dtypes: ClassVar[Sequence[tuple[str, ...]]]
    """Of these, all together, as safetensors calls them: one of several."""

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """B, and what makes states alike: those of one layer differ in B alone."""

    def tensors(self) -> dict[str, Tensor]:
        """Its tensors by name; those that it has not got are left out."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: tensor for name, tensor in named if tensor is not None}

    def to(self, device: torch.device | str) -> Self:
        """The same state on another device, if it can be there."""
        return replace(self, **{name: x.to(device) for name, x in self.tensors().items()})

    @abstractmethod
    def reset(self, mask: Tensor) -> Self:
        """Empty the streams where `mask` (B,) is True."""

    @abstractmethod
    def stats(self) -> dict[str, float]:
        """How much it holds: `rows`, `steps` and `bytes` among others."""

    @abstractmethod
    def diff(self, earlier: Any) -> dict[str, float]:
        """How much was `added`, `removed` and `changed`, and the L2 `norm` of the change."""

    @abstractmethod
    def merge(self, other: Any, base: Any) -> Self:
        """What this state and another learned since their common ancestor; None is an empty one."""

    @classmethod
    @abstractmethod
    def concat(cls, parts: Sequence[Any]) -> Self:
        """Streams of several states of one layer side by side."""

    @abstractmethod
    def stored(self) -> dict[str, Tensor]:
        """Its parts as a file holds them: no more than what is used."""

    @classmethod
    @abstractmethod
    def check_sizes(cls, shape: Sequence[int], sizes: Mapping[str, Sequence[int]]) -> None:
        """Raise `ValueError` unless stored parts of these sizes can be a state of this shape."""

    @classmethod
    @abstractmethod
    def of_stored(cls, shape: Sequence[int], parts: Mapping[str, Tensor], layout: Any) -> Self:
        """The inverse of `stored`, in the form of a layout, or in one of its own if that is None.

        Raises:
            ValueError: the parts are no state.
            StateError: they hold more than the layout has capacity for.
        """


def require_room(size: int) -> None:
    """Raise `StateError` for a state of more bytes than this machine has, before it is made."""
    if size > MACHINE:
        raise StateError(
            f"it would take {size:,} bytes, and this machine has {MACHINE:,}. If it held less when "
            "you saved it, restore it from a copy."
        )
