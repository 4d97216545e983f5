"""`TableWeights`: the state of a memory of tables, slot -> weights of the tokens that followed it.

A row is either a slot, whose key is the slot's number and whose token is -1 - head, or an entry of
it, whose key is the slot's row. The weight of a slot is the sum of its entries, and LINK leads from
it through all of them. Row 0 is never used. Decay is lazy: AT says how often the slot had been
written when the entry last was; of the slot itself, how often it has been written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.base import LayerState

TOKEN, AT, LAST, LINK, DISTINCT = range(5)
"""Columns of a row. LAST: when an entry was last written; DISTINCT: how many entries a slot has."""
COLUMNS = 5
START = 256
"""Rows that tables begin with."""


class TableLayout(NamedTuple):
    """What a layer of tables wants its state to be; a module says so by an attribute `layout`."""

    heads: int  # H
    sets: int  # S, of the gate's weights
    recent: int  # L, how many of the last tokens are kept
    capacity: int  # rows of a stream at most
    classes: int = 2**31  # V: tokens are below


@dataclass(frozen=True)
class TableWeights(LayerState):
    """The state of a memory of tables. It lives in host memory, whatever the model's device.

    Attributes:
        key: (B, R) int64.
        weight: (B, R) float32.
        rows: (B, R, COLUMNS) int32.
        used: (B, 2) int64, how many rows are used, and how many tokens were read.
        recent: (B, L) int64, the last tokens read, newest last, -1 where there are none.
        theta: (B, H, S) float32, what the gate has learned, an offset from its trained start.
        moved: (B, H, S) int32, how often each was moved.
        keep: (B, H) float64, rho of each head: what a slot keeps of its weights when it is written.
        bucket: (B, M) int32, where the search for a row begins. It follows from the rows: None is
            built anew when it is needed.
    """

    layout_type: ClassVar[type] = TableLayout
    parts: ClassVar[tuple[str, ...]] = (
        *("key", "weight", "rows", "used", "recent", "theta", "moved", "keep"),
    )

    key: Tensor
    weight: Tensor
    rows: Tensor
    used: Tensor
    recent: Tensor
    theta: Tensor
    moved: Tensor
    keep: Tensor
    bucket: Tensor | None = None

    @classmethod
    def empty(
        cls, layout: TableLayout, batch: int, keep: Sequence[float] | Tensor, **where: Any
    ) -> Self:
        """An empty memory for B streams, where head h keeps the share `keep`[h] at each write."""
        heads, sets, recent, *_ = layout
        weight = torch.zeros(batch, START, **where)
        key = torch.zeros_like(weight, dtype=torch.int64)
        theta = weight.new_zeros(batch, heads, sets)
        rho = torch.as_tensor(keep, dtype=torch.float64, device=weight.device)
        return cls(
            key,
            weight,
            rows=torch.zeros(batch, START, COLUMNS, dtype=torch.int32, device=weight.device),
            used=key.new_zeros(batch, 2),
            recent=key.new_full((batch, recent), -1),
            theta=theta,
            moved=torch.zeros_like(theta, dtype=torch.int32),
            keep=rho.expand(batch, heads).clone(),
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, S, L)."""
        batch, heads, sets = self.theta.shape
        return batch, heads, sets, self.recent.shape[1]

    @property
    def steps(self) -> Tensor:
        """(B,) int64, tokens read since the memory was empty."""
        return self.used[:, 1]

    def to(self, device: torch.device | str) -> Self:
        """Itself: compiled loops read and write it in host memory, a few rows at a time."""
        return self

    def reset(self, mask: Tensor) -> Self:
        """Empty the streams where `mask` (B,) is True; how each head forgets remains."""
        blank = {"recent": -1}
        mask = mask.to(self.used.device)
        made = {
            name: torch.where(mask.view(-1, *[1] * (tensor.dim() - 1)), blank.get(name, 0), tensor)
            for name, tensor in self.tensors().items()
        }
        return type(self)(**made | {"keep": self.keep})

    def stats(self) -> dict[str, float]:
        """Rows used, slots and entries among them, tokens read, bytes."""
        used = self._used()
        slots = int((used & (self.rows[..., TOKEN] < 0)).sum())
        rows = int(used.sum())
        return {
            "slots": slots,
            "entries": rows - slots,
            "rows": rows,
            "steps": self.steps.float().mean().item(),
            "bytes": float(sum(tensor.nbytes for tensor in self.tensors().values())),
        }

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Streams of several states of one layer side by side, with room for the longest.

        Raises:
            StateError: the states differ in shape.
        """
        if len({part.shape[1:] for part in parts}) != 1:
            raise StateError("concat needs states of one model: their shapes differ")
        room = max(part.key.shape[1] for part in parts)
        made = {}
        for name in parts[0].tensors().keys() - {"bucket"}:
            found = [getattr(part, name) for part in parts]
            if name in ("key", "weight", "rows"):
                found = [pad(x, (0, 0) * (x.dim() - 2) + (0, room - x.shape[1])) for x in found]
            made[name] = torch.cat(found)
        return cls(**made)

    def _used(self) -> Tensor:
        """(B, R) bool, which rows are used."""
        row = torch.arange(self.key.shape[1], device=self.key.device)
        return (row > 0) & (row <= self.used[:, :1])

    def diff(self, earlier: Self) -> dict[str, float]:
        """Entries `added`, `removed` and `changed`, and the L2 `norm` of the change of weights."""
        raise NotImplementedError

    def merge(self, other: Self, base: Self | None) -> Self:
        """What this state and another learned since their common ancestor."""
        raise NotImplementedError

    def stored(self) -> dict[str, Tensor]:
        """All but the hash table; used rows alone, those of all streams one after the other."""
        raise NotImplementedError

    @classmethod
    def check_sizes(cls, shape: Sequence[int], sizes: Mapping[str, Sequence[int]]) -> None:
        """Raise `ValueError` unless stored parts of these sizes can be a state of this shape."""
        raise NotImplementedError

    @classmethod
    def of_stored(
        cls, shape: Sequence[int], parts: Mapping[str, Tensor], layout: TableLayout | None
    ) -> Self:
        """The inverse of `stored`."""
        raise NotImplementedError
