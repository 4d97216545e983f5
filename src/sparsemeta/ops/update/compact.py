"""From a table of N slots to the few rows that a segment touches, and back.

Everything after this costs what was touched, not what there is. A reset needs no operation of its
own: a slot named after a reset is another row than the same slot named before it, and starts empty.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.ops.compiled import at_hand
from sparsemeta.ops.types import Address, Segment

Form = Callable[[Segment, Tensor, Tensor | None, Tensor | None, str], tuple[Tensor, Tensor]]
"""A form of the update: from a segment, a table, mask, resets and rule to reads and the table."""


class Rows(NamedTuple):
    """The rows of a table (B, H, N, V) that a segment touches, U at most in any head."""

    slot: Tensor  # (B, H, U) int64, of each row; N where a head has fewer than U rows
    opened: Tensor  # (B, H, U) bool, True for rows that begin empty, after a reset
    kept: Tensor  # (B, H, U) bool, True for rows that outlive the segment: none resets them later
    write: Address  # both addresses in rows
    read: Address


def over_rows(
    form: Callable[[Segment, Tensor, str], tuple[Tensor, Tensor]], *, whole: bool
) -> Form:
    """Make a form of the update that knows no masks and no resets into one of `BACKENDS`.

    It is called with a segment, the rows (B, H, U, V) before it, and the rule. If it works in
    place, it is given the `whole` table where it can be.
    """

    def run(
        segment: Segment, table: Tensor, mask: Tensor | None, reset: Tensor | None, rule: str
    ) -> tuple[Tensor, Tensor]:
        if mask is not None:
            segment = _silent(segment, mask)
        if reset is not None and at_hand(reset) and not reset.any():
            reset = None
        _, time, _, active = segment.write.index.shape
        few = table.shape[2] <= time * (active + segment.read.index.shape[3])
        # In a traced graph nothing is in place: a whole table would be copied.
        if reset is None and (few or (whole and not torch.compiler.is_compiling())):
            return form(segment, table, rule)
        rows = compact(segment.write, segment.read, reset, table.shape[2])
        held = torch.where(rows.opened[..., None], 0, take(table, rows.slot))
        read, held = form(segment._replace(write=rows.write, read=rows.read), held, rule)
        if reset is not None:
            table = _emptied(table, reset.any(1))
        return read, put(table, rows, held)

    return run


def _emptied(table: Tensor, streams: Tensor) -> Tensor:
    """A table without the rows of some streams, in place."""
    if at_hand(table):
        return table.index_fill_(0, streams.nonzero().squeeze(1), 0)
    return table.masked_fill_(streams[:, None, None, None], 0)


def _silent(segment: Segment, mask: Tensor) -> Segment:
    """A step that is not real writes at rate 0 and keeps everything: it leaves no trace."""
    write, value, rate, kept, read = segment

    def real(x: Tensor) -> Tensor:
        return torch.where(mask.view(*mask.shape, *[1] * (x.dim() - 2)), x, 0)

    kept = None if kept is None else real(kept)
    write, read = (address._replace(weight=real(address.weight)) for address in (write, read))
    return Segment(write, real(value), real(rate), kept, read)


def compact(write: Address, read: Address, reset: Tensor | None, slots: int) -> Rows:
    """Name the touched rows of every head 0, 1, 2, ... in the order of their N slots."""
    active = write.index.shape[-1]
    both = torch.cat([write.index, read.index], dim=-1)
    life = None if reset is None else reset.cumsum(1)  # how many resets came before this step
    if life is not None:
        both = both + slots * life[:, :, None, None]
    named = both.transpose(1, 2).flatten(2)  # (B, H, T * (A + R))
    key, order = named.sort(dim=-1)
    rank = pad(key.diff().ne(0).cumsum(-1), (1, 0))
    if at_hand(rank):
        width = int(rank[..., -1].max()) + 1
    else:  # as many as there can be
        width = named.shape[-1] if reset is not None else min(named.shape[-1], slots)
    rows = torch.empty_like(named).scatter_(-1, order, rank)
    rows = rows.unflatten(2, (both.shape[1], both.shape[3])).transpose(1, 2)
    key = torch.full((*key.shape[:2], width), -1, device=key.device).scatter_(-1, rank, key)
    kept = key >= 0
    slot = torch.where(kept, key % slots, slots)
    if life is not None:
        kept &= key // slots == life[:, -1, None, None]
    write, read = write._replace(index=rows[..., :active]), read._replace(index=rows[..., active:])
    return Rows(slot, key >= slots, kept, write, read)


def take(table: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, H, U, V) of a table (B, H, N, V); an index of N gives some row, never an error."""
    batch = torch.arange(table.shape[0], device=table.device)[:, None, None]
    head = torch.arange(table.shape[1], device=table.device)[:, None]
    # Not gather: that would save the table for the backward pass, and it may be overwritten.
    return table[batch, head, rows.clamp(max=table.shape[2] - 1)]


def put(table: Tensor, rows: Rows, values: Tensor) -> Tensor:
    """Overwrite the kept rows of a table (B, H, N, V) with `values` (B, H, U, V); return it."""
    batch = torch.arange(table.shape[0], device=table.device)[:, None, None]
    head = torch.arange(table.shape[1], device=table.device)[:, None]
    # What is not kept puts the last row once more: it is named in the last step, so it is kept.
    last = (rows.slot < table.shape[2]).sum(-1, keepdim=True) - 1
    again = values.detach().gather(2, last[..., None].expand(-1, -1, -1, values.shape[3]))
    slot = rows.slot.where(rows.kept, rows.slot.gather(-1, last))
    return table.index_put_((batch, head, slot), values.where(rows.kept[..., None], again))
