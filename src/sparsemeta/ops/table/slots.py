"""A table that holds only the rows of slots that were written, and grows as they become more.

Rows are claimed one after the other, from 1. Row 0 is never claimed: it stays empty, so that a slot
never written is read from it, and a step that does not write is sent there. What `locate` returns
goes to `scan` as if it were an address: nothing else need know how a table is kept.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import StateError
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.types import Segment


class Held(NamedTuple):
    """The rows that every head holds, C at most.

    Attributes:
        table: (B, H, C, V), their contents; zero where a row is free.
        slot: (B, H, C) int64, their slots; N where a row is free, as row 0 always is.
        bucket: (B, H, M) int32, a hash table from slots to rows, 0 where empty; None is built anew
            when it is needed.
    """

    table: Tensor
    slot: Tensor
    bucket: Tensor | None


def locate(
    held: Held,
    segment: Segment,
    written: Tensor,
    reset: Tensor | None,
    *,
    capacity: int,
    donate: bool = False,
) -> tuple[Segment, Held]:
    """Find the row of every slot of a segment; a slot written for the first time claims a new one.

    Args:
        held: the rows before the segment.
        segment: its addresses in slots.
        written: (B, T) bool, False where a step writes nothing: it claims no row.
        reset: (B, T) bool, True frees the stream's rows before that step.
        capacity: rows that a head may claim.
        donate: allow `held` to be overwritten, so that time does not grow with C but for the
            doublings.

    Returns:
        The segment with its addresses in rows, 0 where there is none, and the rows after it: those
        that were free are empty still, and the table is twice as long as often as it had to be.

    Raises:
        StateError: a head needs more rows than `capacity`; nothing has been changed.
    """
    if reset is None:
        reset = torch.zeros_like(written)
    if usable(held.slot):
        write, read, slot, bucket = _by_hash(held, segment, written, reset, capacity, donate)
    else:
        write, read, slot, bucket = _by_sort(held, segment, written, reset, capacity)
    more = slot.shape[2] - held.slot.shape[2]
    table = pad(held.table, (0, 0, 0, more)) if more else held.table
    write, read = segment.write._replace(index=write), segment.read._replace(index=read)
    return segment._replace(write=write, read=read), Held(table, slot, bucket)


def _larger(rows: int, held: Held, capacity: int) -> int:
    """The next length of a table: amortised, growth costs what claiming does."""
    if rows > capacity:
        slot, row = held.slot, held.table[0, 0, 0]
        fullest = int((slot != slot[..., :1]).sum(-1).max())
        raise StateError(
            f"the memory is full: one of its heads holds {fullest} rows already, and this segment "
            f"would take it past {capacity} (memory.capacity). Empty it (FastWeights.reset), or "
            f"raise memory.capacity: a row takes {row.nbytes + 3 * slot.itemsize} bytes in every "
            "head of every stream."
        )
    return min(2 * rows, capacity + 1)


Search = tuple[Tensor, Tensor, Tensor, Tensor | None]


def _by_hash(
    held: Held, segment: Segment, written: Tensor, reset: Tensor, capacity: int, donate: bool
) -> Search:
    from sparsemeta.ops.table.hashing import buckets, claim, occupied

    address = (segment, written, reset)
    slot, bucket, rows = held.slot, held.bucket, held.slot.shape[2]
    size, free = rows, int(slot[0, 0, 0])
    _, time, _, active = segment.write.index.shape
    if donate and (size > free or occupied(slot) + time * active < size):  # it fits, whatever comes
        bucket = buckets(slot) if bucket is None else bucket
        return *claim(slot, bucket, *address)[:2], slot, bucket
    while True:  # on copies: they are thrown away when they prove too small
        slot = pad(held.slot, (0, rows - size), value=free)
        bucket = held.bucket
        bucket = buckets(slot) if bucket is None or rows > size else bucket.clone()
        write, read, fits = claim(slot, bucket, *address)
        if fits:
            return write, read, slot, bucket
        rows = _larger(rows, held, capacity)


def _by_sort(held: Held, segment: Segment, written: Tensor, reset: Tensor, capacity: int) -> Search:
    """The same without numba, on any device; it sorts all rows held, and overwrites nothing."""
    write_index, read_index = segment.write.index, segment.read.index
    slot, size, slots = held.slot, held.slot.shape[2], int(held.slot[0, 0, 0])
    life = reset.cumsum(1)  # after a reset, a slot is another one than before
    nowhere = slots * (life.shape[1] + 1)

    def keys(index: Tensor) -> Tensor:  # (B, T, H, A) -> (B, H, T * A)
        return (index + slots * life[:, :, None, None]).transpose(1, 2).flatten(2)

    writes = written[:, None, :, None].expand(*slot.shape[:2], -1, write_index.shape[3]).flatten(2)
    parts = [torch.where(writes, keys(write_index), nowhere), keys(read_index)]
    found = torch.where(slot == slots, nowhere, slot)
    key, order = torch.cat([found, *parts], -1).sort(dim=-1, stable=True)

    # Of equal keys the first tells the row: one held, else one to claim, else (only read) none.
    first = key != key.roll(1, -1)
    first[..., 0] = True
    new = first & (order >= size) & (order < size + writes.shape[-1])
    count = new.cumsum(-1)
    life_starts = torch.searchsorted(key, key // slots * slots)
    count = count - (count.gather(-1, life_starts) - new.gather(-1, life_starts).long())
    held_before = (slot != slots).sum(-1, keepdim=True)
    claimed = count + torch.where(key < slots, held_before, 0)
    row = torch.where(new, claimed, torch.where(order < size, order, 0))
    place = torch.arange(key.shape[-1], device=key.device)
    row = row.gather(-1, torch.where(first, place, 0).cummax(-1).values)

    rows = size
    while rows <= int(row.max()):
        rows = _larger(rows, held, capacity)
    last = life[:, -1, None, None]
    after = torch.where(last == 0, pad(slot, (0, rows - size), value=slots), slots)
    after.scatter_(-1, torch.where(key // slots == last, row, 0), key % slots)
    after[..., 0] = slots
    located = torch.empty_like(row).scatter_(-1, order, row)[..., size:]
    write, read = located.split([part.shape[-1] for part in parts], -1)
    write, read = (
        part.unflatten(2, index.shape[1::2]).transpose(1, 2)
        for part, index in ((write, write_index), (read, read_index))
    )
    return write, read, after, None
