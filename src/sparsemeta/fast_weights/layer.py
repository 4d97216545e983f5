"""`LayerWeights`: the state of one adapted layer, in one of two forms, which compare row by row.

The dense form keeps a row for every slot. The growing form keeps the rows of slots that were
written, and doubles when they become too many; `sparsemeta.ops.locate` finds a slot's row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.base import FLOATS, LayerState, require_room

START = 64
"""Rows that a growing table begins with."""


class Layout(NamedTuple):
    """What a layer wants its state to be; a module says so by an attribute `layout`."""

    heads: int  # H
    slots: int  # N, per head
    width: int  # V
    capacity: int | None  # rows held per head at most, in the growing form; None is the dense form

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a state, without B."""
        return self.heads, self.slots, self.width


@dataclass(frozen=True)
class LayerWeights(LayerState):
    """The state of one adapted layer.

    Attributes:
        table: (B, H, C, V) float32, the rows held. In the dense form C = N and row i is slot i.
        last: (B, D) float32, the layer's input at the last real step: the context that the next
            step's write is keyed by.
        steps: (B,) int64, real steps since the memory was empty.
        slot: (B, H, C) int64, the slot of each row, N where a row is free; None in the dense form.
            Row 0 is never claimed, the others are in their order.
        bucket: (B, H, M) int32, where the search for a slot's row begins. It follows from `slot`:
            None is built anew when it is needed.
    """

    layout_type: ClassVar[type] = Layout
    parts: ClassVar[tuple[str, ...]] = ("table.index", "table.rows", "last", "steps")
    dtypes: ClassVar[Sequence[tuple[str, ...]]] = [("I64", x, x, "I64") for x in FLOATS]

    table: Tensor
    last: Tensor
    steps: Tensor
    slot: Tensor | None = None
    bucket: Tensor | None = None

    @classmethod
    def empty(cls, layout: Layout, batch: int, width: int, rows: int = 1, **where: object) -> Self:
        """An empty memory for B streams of a layer whose input has width D, on a device of `where`.

        In the growing form it has C = `rows` at the least.
        """
        heads, slots, value_width, capacity = layout
        last = torch.zeros(batch, width, **where)  # type: ignore[call-overload]
        steps = last.new_zeros(batch, dtype=torch.int64)
        if capacity is None:
            return cls(last.new_zeros(batch, heads, slots, value_width), last, steps)
        rows = max(rows, min(START, capacity + 1))
        slot = steps.new_full((batch, heads, rows), slots)
        return cls(last.new_zeros(batch, heads, rows, value_width), last, steps, slot)

    @classmethod
    def of_rows(
        cls, layout: Layout, index: Tensor, rows: Tensor, last: Tensor, steps: Tensor
    ) -> Self:
        """The inverse of `touched`, in either form.

        Raises:
            ValueError: the rows are not in order, or are none of the layout's.
            StateError: they are more than the layout has capacity for, or the machine memory.
        """
        (batch, width), (heads, slots, value_width, capacity) = last.shape, layout
        row = batch * heads * (value_width * rows.element_size() + steps.element_size())
        require_room(row * (slots if capacity is None else min(START, capacity + 1)))
        if rows.shape != (len(index), value_width) or steps.shape != (batch,):
            raise ValueError("rows or steps of another shape")
        if len(index) and (index[0] < 0 or index[-1] >= batch * heads * slots):
            raise ValueError("a row outside the table")
        if (index.diff() <= 0).any():
            raise ValueError("rows out of order")
        owner = index // slots
        count = owner.bincount(minlength=batch * heads)
        most = int(count.max())
        if capacity is not None and most > capacity:
            raise StateError(
                f"a head of this memory holds {most} rows, more than memory.capacity = {capacity}: "
                "raise it"
            )
        require_room(row * (1 if capacity is None else most + 1))
        made = cls.empty(layout, batch, width, most + 1, device=rows.device, dtype=rows.dtype)
        if made.slot is None:
            made.table.flatten(0, 2)[index] = rows
        else:
            row = torch.arange(1, len(index) + 1) - (count.cumsum(0) - count)[owner]
            made.table.flatten(0, 1)[owner, row] = rows
            made.slot.flatten(0, 1)[owner, row] = index % slots
        return cls(made.table, last, steps, made.slot)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(B, H, N, V), in either form."""
        batch, heads, rows, width = self.table.shape
        slots = rows if self.slot is None else int(self.slot[0, 0, 0])
        return batch, heads, slots, width

    def touched(self) -> tuple[Tensor, Tensor]:
        """Places in a flat dense (B, H, N), sorted, of rows that are in use; the rows (.., V)."""
        table = self.table.detach()
        used = table.ne(0).any(-1)
        if self.slot is None:
            return used.flatten().nonzero().squeeze(-1), table[used]
        batch, heads, slots, _ = self.shape
        owner = torch.arange(batch * heads, device=table.device).view(batch, heads, 1)
        index, order = (owner * slots + self.slot)[used].sort()
        return index, table[used][order]

    def stored(self) -> dict[str, Tensor]:
        """The rows in use, the same for both forms, and what is beside them."""
        return dict(zip(self.parts, (*self.touched(), self.last, self.steps), strict=True))

    @classmethod
    def check_sizes(cls, shape: Sequence[int], sizes: Mapping[str, Sequence[int]]) -> None:
        """Raise `ValueError` unless stored parts of these sizes can be a state of this shape."""
        batch, heads, slots, width = shape
        index, rows, last, steps = (sizes[part] for part in cls.parts)
        if len(index) != 1 or index[0] > batch * heads * slots:
            raise ValueError(f"rows of {index} slots, but there are {heads * slots}")
        if rows != [*index, width] or steps != [batch] or len(last) != 2 or last[0] != batch:
            raise ValueError(f"parts of shapes {index}, {rows}, {last}, {steps}")

    @classmethod
    def of_stored(
        cls, shape: Sequence[int], parts: Mapping[str, Tensor], layout: Layout | None
    ) -> Self:
        """The inverse of `stored`, in the form of the layout; in the growing one without."""
        _, heads, slots, width = shape
        return cls.of_rows(
            layout or Layout(heads, slots, width, slots), *(parts[p] for p in cls.parts)
        )

    def stats(self) -> dict[str, float]:
        """Slots, rows in use, their share and their norms, steps read, bytes."""
        batch, heads, slots, _ = self.shape
        norms = self.touched()[1].norm(dim=-1)
        return {
            "slots": batch * heads * slots,
            "rows": len(norms),
            "used": len(norms) / (batch * heads * slots),
            "mean_norm": norms.sum().item() / max(1, len(norms)),
            "max_norm": norms.max().item() if len(norms) else 0.0,
            "steps": self.steps.float().mean().item(),
            "bytes": float(sum(tensor.nbytes for tensor in self.tensors().values())),
        }

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Streams of several states of one layer side by side; growing forms to the longest.

        Raises:
            StateError: the states differ in shape or form.
        """
        kinds = {(part.slot is None, part.shape[1:], part.last.shape[1:]) for part in parts}
        if len(kinds) != 1:
            raise StateError("concat needs states of one model: their shapes or forms differ")
        rows, slots = max(part.table.shape[2] for part in parts), parts[0].shape[2]
        more = [rows - part.table.shape[2] for part in parts]
        table = torch.cat([pad(p.table, (0, 0, 0, n)) for p, n in zip(parts, more, strict=True)])
        last, steps = (torch.cat([getattr(p, name) for p in parts]) for name in ("last", "steps"))
        owners = [
            pad(part.slot, (0, n), value=slots)
            for part, n in zip(parts, more, strict=True)
            if part.slot is not None
        ]
        return cls(table, last, steps, torch.cat(owners) if owners else None)

    def reset(self, mask: Tensor) -> Self:
        """Empty the streams where `mask` (B,) is True: their rows are free."""
        mask = mask.to(self.steps.device)

        def clear(tensor: Tensor, blank: Tensor | int = 0) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (tensor.dim() - 1)), blank, tensor)

        made = {name: clear(tensor) for name, tensor in self.tensors().items()}
        if self.slot is not None:
            made["slot"] = clear(self.slot, self.slot[..., :1])
        return replace(self, **made)

    def diff(self, earlier: Self) -> dict[str, float]:
        """How many rows were `added`, `removed` and `changed`, and the L2 `norm` of the change."""
        _, (now, before) = _align(self, earlier)
        is_now, was = now.any(-1), before.any(-1)
        return {
            "added": int((is_now & ~was).sum()),
            "removed": int((was & ~is_now).sum()),
            "changed": int((is_now & was & (now != before).any(-1)).sum()),
            "norm": (now - before).norm().item(),
        }

    def merge(self, other: Self, base: Self | None) -> Self:
        r"""What this state A and another B learned since their common ancestor $M_0$.

        $$M[i] = \begin{cases} A[i] & B[i] = M_0[i] \\ B[i] & A[i] = M_0[i] \\
        (n_A A[i] + n_B B[i]) / (n_A + n_B) & \text{otherwise} \end{cases}$$

        with n the steps each has read since: a row that only one of them touched is taken as it is;
        where both wrote, the mean by what they have read, as federated averaging takes it (McMahan
        et al. 2017), keeps the size of what is recalled, where a sum would double it.

        Args:
            other: B; the context that the next write is keyed by is B's, if B has read anything.
            base: $M_0$; None is an empty memory.

        Raises:
            StateError: one of them has read less than the base.
        """
        _, heads, slots, width = self.shape
        began = torch.zeros_like(self.steps) if base is None else base.steps
        read, also_read = self.steps - began, other.steps - began
        if (read < 0).any() or (also_read < 0).any():
            raise StateError(
                "a memory has read less than the base, so it did not grow from it. Name the memory "
                "that both began with as the base, or none if they began empty."
            )
        index, rows = _align(self, other, *([] if base is None else [base]))
        a, b, start = rows if base else (*rows, torch.zeros_like(rows[0]))
        share = (also_read / (read + also_read).clamp(min=1)).to(a.dtype)
        mean = a.lerp(b, share[index // (heads * slots), None])
        untouched, also_untouched = ((x == start).all(-1, keepdim=True) for x in (a, b))
        merged = torch.where(also_untouched, a, torch.where(untouched, b, mean))
        kept = merged.any(-1)
        return self.of_rows(
            Layout(heads, slots, width, capacity=None if self.slot is None else slots),
            index[kept],
            merged[kept],
            torch.where((also_read > 0)[:, None], other.last, self.last),
            began + read + also_read,
        )


def _align(*states: LayerWeights) -> tuple[Tensor, list[Tensor]]:
    """The rows that any of some states holds: their places (R,), and each state's rows (R, V)."""
    found = [state.touched() for state in states]
    every = torch.cat([index for index, _ in found]).unique()
    aligned = []
    for index, rows in found:
        aligned.append(rows.new_zeros(len(every), rows.shape[1]))
        aligned[-1][torch.searchsorted(every, index)] = rows
    return every, aligned
