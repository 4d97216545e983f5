"""`TableWeights`: the state of a memory of tables, slot -> weights of the tokens that followed it.

entries.py has what its rows are. The compiled loops that read and write them are in
`sparsemeta.ops`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.base import FLOATS, LayerState, require_room
from sparsemeta.fast_weights.entries import (
    AT,
    COLUMNS,
    LAST,
    TOKEN,
    Entries,
    align,
    in_order,
    rows_of,
)
from sparsemeta.fast_weights.structure import PARTS, check_tables

START = 256
"""Rows that tables begin with."""


class TableLayout(NamedTuple):
    """What a layer of tables wants its state to be; a module says so by an attribute `layout`."""

    heads: int  # H
    sets: int  # S, of the gate's weights
    recent: int  # L, how many of the last tokens are kept
    capacity: int  # rows of a stream at most
    classes: int = 2**31  # V: tokens are below

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a state, without B."""
        return self.heads, self.sets, self.recent


@dataclass(frozen=True)
class TableWeights(LayerState):
    """The state of a memory of tables. It lives in host memory, whatever the model's device.

    All is of B streams; or `recent` alone is, and the rest of one, which they share.

    Attributes:
        key: (B, R) int64.
        weight: (B, R) float32; or float64, as theta is then.
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
    parts: ClassVar[tuple[str, ...]] = PARTS
    dtypes: ClassVar[Sequence[tuple[str, ...]]] = [
        ("I64", x, "I32", "I64", "I64", x, "I32", "F64") for x in FLOATS
    ]

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
        cls,
        layout: TableLayout,
        batch: int,
        keep: Sequence[float] | Tensor,
        dtype: torch.dtype = torch.float32,
    ) -> Self:
        """An empty memory for B streams, where head h keeps the share `keep`[h] at each write."""
        heads, sets, recent, *_ = layout
        used = torch.zeros(batch, 2, dtype=torch.int64)
        return cls(
            key=used.new_zeros(batch, START),
            weight=torch.zeros(batch, START, dtype=dtype),
            rows=torch.zeros(batch, START, COLUMNS, dtype=torch.int32),
            used=used,
            recent=used.new_full((batch, recent), -1),
            theta=torch.zeros(batch, heads, sets, dtype=dtype),
            moved=torch.zeros(batch, heads, sets, dtype=torch.int32),
            keep=torch.as_tensor(keep, dtype=torch.float64).cpu().expand(batch, heads).clone(),
        )

    @classmethod
    def of_entries(cls, listed: Entries, beside: Self) -> Self:
        """The inverse of `entries`.

        Args:
            listed: in order, each once; those of no weight are left out.
            beside: where all the rest is taken from: what was read, and the gate.
        """
        return beside._holding(*rows_of(listed, beside.steps))

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, S, L)."""
        (streams, recent), (_, heads, sets) = self.recent.shape, self.theta.shape
        return streams, heads, sets, recent

    @property
    def steps(self) -> Tensor:
        """(B,) int64, tokens read since the memory was empty."""
        return self.used[:, 1]

    def shared(self, streams: int) -> Self:
        """The memory of one stream as that of several, which learn into it together."""
        return replace(self, recent=self.recent.expand(streams, -1).clone())

    def to(self, device: torch.device | str) -> Self:
        """Itself: compiled loops read and write it in host memory, a few rows at a time."""
        return self

    def entries(self) -> Entries:
        """List what it holds; not the entries of which decay has left nothing."""
        stream, row = (self._used() & (self.rows[..., TOKEN] >= 0)).nonzero().unbind(-1)
        token, at, last = (self.rows[stream, row, i].long() for i in (TOKEN, AT, LAST))
        slot_row = self.key[stream, row]
        head = -1 - self.rows[stream, slot_row, TOKEN].long()
        idle = self.rows[stream, slot_row, AT] - at
        weight = (self.weight[stream, row] * self.keep[stream, head] ** idle).to(self.weight.dtype)
        age = self.steps[stream] - last
        listed = Entries(stream, head, self.key[stream, slot_row], token, weight, age)
        listed = listed.where(weight > 0)
        return listed.where(in_order(listed[:4])[0])

    def stats(self) -> dict[str, float]:
        """Rows in use, slots and entries among them, tokens read, bytes."""
        used = self._used()
        slots = int((used & (self.rows[..., TOKEN] < 0)).sum())
        return {
            "slots": slots,
            "entries": int(used.sum()) - slots,
            "rows": int(used.sum()),
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

        def joined(name: str) -> Tensor:
            found = [getattr(part, name) for part in parts]
            if name in ("key", "weight", "rows"):
                found = [pad(x, [0, 0] * (x.dim() - 2) + [0, room - x.shape[1]]) for x in found]
            return torch.cat(found)

        return cls(**{name: joined(name) for name in cls.parts})

    def reset(self, mask: Tensor) -> Self:
        """Empty the streams where `mask` (B,) is True; how each head forgets remains."""
        mask = mask.to(self.used.device)

        def clear(tensor: Tensor, blank: int = 0) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (tensor.dim() - 1)), blank, tensor)

        made = {name: clear(tensor) for name, tensor in self.tensors().items()}
        return replace(self, **made | {"recent": clear(self.recent, -1), "keep": self.keep})

    def diff(self, earlier: Self) -> dict[str, float]:
        """How many entries were `added`, `removed` and `changed`, and the L2 `norm` of all that."""
        now, before = (x.weight for x in align(self.entries(), earlier.entries()))
        return {
            "added": int((before == 0).sum()),
            "removed": int((now == 0).sum()),
            "changed": int(((now != before) & (now > 0) & (before > 0)).sum()),
            "norm": (now - before).norm().item(),
        }

    def merge(self, other: Self, base: Self | None) -> Self:
        r"""What this state A and another B learned since their common ancestor $M_0$, added up.

        $$C[s, y] = \max(0, C_A[s, y] + C_B[s, y] - C_0[s, y]) \qquad
        \theta = (m_A \theta_A + m_B \theta_B) / (m_A + m_B)$$

        with C the weights as they are now, and m how often each weight of the gate was moved since.
        As to when an entry was written, and what the last tokens were, B was read after A.

        Args:
            other: B.
            base: $M_0$; None is an empty memory.

        Raises:
            StateError: one of them has read less than the base, or forgets otherwise.
        """
        start = base or self.reset(torch.ones(len(self.used), dtype=torch.bool))
        read, also_read = self.steps - start.steps, other.steps - start.steps
        moved, also_moved = self.moved - start.moved, other.moved - start.moved
        if any((since < 0).any() for since in (read, also_read, moved, also_moved)):
            raise StateError(
                "a memory has read less than the base, so it did not grow from it. Name the memory "
                "that both began with as the base, or none if they began empty."
            )
        if not torch.equal(self.keep, other.keep) or not torch.equal(self.keep, start.keep):
            raise StateError("the heads of these memories forget differently (tables.fading)")
        a, b, ancestor = align(self.entries(), other.entries(), start.entries())
        weight = a.weight.double() + (b.weight.double() - ancestor.weight)
        later = also_read[a.stream]
        age = torch.where(b.age < later, b.age, a.age + later)
        listed = a._replace(weight=weight.to(a.weight), age=age)
        share = also_moved / (moved + also_moved).clamp(min=1)
        beside = replace(
            self,
            used=torch.stack([self.used[:, 0], start.steps + read + also_read], -1),
            recent=torch.where((also_read > 0)[:, None], other.recent, self.recent),
            theta=self.theta.lerp(other.theta, share.to(self.theta)),
            moved=start.moved + moved + also_moved,
        )
        return self.of_entries(listed, beside)

    def stored(self) -> dict[str, Tensor]:
        """All but the hash table; used rows alone, those of all streams one after the other."""
        used, held = self._used(), self.tensors()
        return {
            name: held[name][used] if name in ("key", "weight", "rows") else held[name]
            for name in self.parts
        }

    @classmethod
    def check_sizes(cls, shape: Sequence[int], sizes: Mapping[str, Sequence[int]]) -> None:
        """Raise `ValueError` unless stored parts of these sizes can be a state of this shape."""
        batch, heads, sets, recent = shape
        (many,) = sizes["key"]
        rows = [[many], [many], [many, COLUMNS]]
        gate = [[batch, heads, sets], [batch, heads, sets], [batch, heads]]
        expected = [*rows, [batch, 2], [batch, recent], *gate]
        found = [sizes[name] for name in cls.parts]
        if found != expected:
            raise ValueError(f"parts of shapes {found}")

    @classmethod
    def of_stored(
        cls, shape: Sequence[int], parts: Mapping[str, Tensor], layout: TableLayout | None
    ) -> Self:
        """The inverse of `stored`; without a layout, of any size."""
        layout = layout or TableLayout(*shape[1:], capacity=2**31)
        check_tables(shape, parts, layout.classes)
        most = int(parts["used"][:, 0].max())
        if most > layout.capacity:
            raise StateError(
                f"a stream of this memory holds {most} rows, more than tables.capacity = "
                f"{layout.capacity}: raise it"
            )
        return cls(**parts)._holding(*(parts[name] for name in cls.parts[:4]))

    def _used(self) -> Tensor:
        """(B, R) bool, which rows are used."""
        row = torch.arange(self.key.shape[1])
        return (row > 0) & (row <= self.used[:, :1])

    def _holding(self, key: Tensor, weight: Tensor, rows: Tensor, used: Tensor) -> Self:
        """The same with other rows, given as they are stored."""
        room = max(START, int(used[:, 0].max()) + 1)
        sizes = (stored[:1].nbytes if len(stored) else 0 for stored in (key, weight, rows))
        require_room(len(used) * room * sum(sizes))
        place = torch.arange(room)
        place = (place > 0) & (place <= used[:, :1])

        def spread(stored: Tensor) -> Tensor:
            made = stored.new_zeros(*place.shape, *stored.shape[1:])
            made[place] = stored
            return made

        key, weight, rows = (spread(stored) for stored in (key, weight, rows))
        return replace(self, key=key, weight=weight, rows=rows, used=used, bucket=None)
