"""The search for a slot's row, compiled: open addressing with linear probing, at most half full.

A bucket names a row, and the row its slot; 0 is an empty bucket, and the row that is never claimed.
So a search that ends at an empty bucket has found the empty row. Needs numba.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sparsemeta.ops.compiled import spread
from sparsemeta.ops.types import Segment

MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(32))


def occupied(slot: Tensor) -> int:
    """How many rows (B, H, C) the fullest head has claimed, in O(B H log C)."""
    return _fullest(slot.flatten(0, 1).numpy())


def buckets(slot: Tensor) -> Tensor:
    """The hash table (B, H, M) of rows (B, H, C), where M is a power of two and at least 2 C."""
    length = 1 << (2 * slot.shape[2] - 1).bit_length()
    bucket = torch.zeros(*slot.shape[:2], length, dtype=torch.int32)
    for rows, found in zip(slot.flatten(0, 1), bucket.flatten(0, 1), strict=True):
        _rebuild(rows.numpy(), found.numpy())
    return bucket


def claim(
    slot: Tensor, bucket: Tensor, segment: Segment, written: Tensor, reset: Tensor
) -> tuple[Tensor, Tensor, bool]:
    """Find and claim rows, in place: both addresses in rows, and whether there were enough.

    If not, all is left half done. Arguments are those of `locate`.
    """
    index = segment.write.index.contiguous(), segment.read.index.contiguous()
    write, read = (torch.empty_like(x) for x in index)
    fits = torch.ones(slot.shape[:2], dtype=torch.bool)
    marks = (written.contiguous(), reset.contiguous())
    spread(_claim, fits.numel(), (index, marks, (slot, bucket), (write, read), fits))
    return write, read, bool(fits.all())


@njit(nogil=True, cache=True)
def number(w_index, r_index, w_row, r_row):
    """Number the slots of one head 1, 2, ... as they come; returns the slot of each, from 1.

    The numbers of slots written (T, A) and read (T, R) go to `w_row` and `r_row`, of these shapes.
    """
    most = w_index.size + r_index.size
    size = 2
    while size < 2 * most:
        size *= 2
    slot, bucket, count = np.empty(most + 1, np.int64), np.zeros(size, np.int32), 0
    for t in range(len(w_index)):
        count = _write(w_index[t], w_row[t], True, slot, bucket, count)
        count = _write(r_index[t], r_row[t], True, slot, bucket, count)
    return slot[: count + 1]


@njit(nogil=True, cache=True)
def find_or_claim(number, slot, bucket):
    """The row of one slot of one head, claimed if it has none; there must be one to claim."""
    at = _search(number, slot, bucket)
    if bucket[at] == 0:
        bucket[at] = _occupied(slot) + 1
        slot[bucket[at]] = number
    return bucket[at]


@njit(nogil=True, cache=True)
def _search(number, slot, bucket):
    """The bucket of a slot's row, or the empty one where it would be."""
    mask = np.uint64(len(bucket) - 1)
    mixed = np.uint64(number) * MIX[0]
    mixed = (mixed ^ (mixed >> MIX[2])) * MIX[1]
    at = np.int64((mixed ^ (mixed >> MIX[2])) & mask)
    while bucket[at] != 0 and slot[bucket[at]] != number:
        at = (at + 1) & (len(bucket) - 1)
    return at


@njit(nogil=True, cache=True)
def _occupied(slot):
    """How many rows are claimed; they come before those that are free."""
    low, high = 1, len(slot)
    while low < high:
        middle = (low + high) // 2
        if slot[middle] == slot[0]:
            high = middle
        else:
            low = middle + 1
    return low - 1


@njit(nogil=True, cache=True)
def _fullest(slots):
    most = 0
    for slot in slots:
        most = max(most, _occupied(slot))
    return most


@njit(nogil=True, cache=True)
def _rebuild(slot, bucket):
    for row in range(1, _occupied(slot) + 1):
        bucket[_search(slot[row], slot, bucket)] = row


@njit(nogil=True, cache=True)
def _claim(first, last, index, marks, table, row, fits):
    (w_index, r_index), (written, reset) = index, marks
    (slots, buckets), (w_row, r_row) = table, row
    time, heads = w_index.shape[1], w_index.shape[2]
    for pair in range(first, last):
        b, h = pair // heads, pair % heads
        slot, bucket = slots[b, h], buckets[b, h]
        count, start = _occupied(slot), 0
        while start < time and count < len(slot):  # from reset to reset
            if reset[b, start]:
                slot[1 : count + 1] = slot[0]
                bucket[:] = 0
                count = 0
            stop = start + 1
            while stop < time and not reset[b, stop]:
                stop += 1
            # All writes come first: a slot that a later step writes is a row that is empty so far.
            for t in range(start, stop):
                count = _write(w_index[b, t, h], w_row[b, t, h], written[b, t], slot, bucket, count)
            for t in range(start, stop):
                for a in range(r_index.shape[3]):
                    r_row[b, t, h, a] = bucket[_search(r_index[b, t, h, a], slot, bucket)]
            start = stop
        fits[b, h] = count < len(slot)


@njit(nogil=True, cache=True)
def _write(index, row, written, slot, bucket, count):
    """Find or claim the rows of one step; returns how many are claimed, C when one is missing."""
    row[:] = 0
    if not written or count == len(slot):
        return count
    for a in range(len(index)):
        at = _search(index[a], slot, bucket)
        if bucket[at] == 0:
            count += 1
            if count == len(slot):
                return count
            slot[count] = index[a]
            bucket[at] = count
        row[a] = bucket[at]
    return count
