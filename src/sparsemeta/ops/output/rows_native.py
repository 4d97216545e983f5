"""The row memory as a loop over time, compiled for CPUs: for a few steps without a gradient.

Every step claims and writes one row, in place, and reads all: what is carried is read from memory
once, and that is what a step costs. What is left of a row after so many idle steps is a product of
two powers, looked up. Needs numba.
"""

import numpy as np
import torch
from jaxtyping import Bool, Int
from numba import njit
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.ops.compiled import FAST, spread
from sparsemeta.ops.output.types import EPOCH, Outcomes, Scores
from sparsemeta.ops.table.hashing import buckets, find_or_claim, occupied
from sparsemeta.ops.table.slots import Held


def rows_native(
    outcomes: Outcomes,
    held: Held,
    clock: Int[Tensor, " B"],
    mask: Bool[Tensor, "B T"] | None,
    *,
    donate: bool = False,
) -> tuple[Scores, Held, Int[Tensor, " B"]]:
    """Run a segment without resets; what it takes and returns, `run_rows` says."""
    *steps, log_retention = (tensor.detach().contiguous() for tensor in outcomes)
    (batch, time), count = outcomes.observed.shape, occupied(held.slot) + 1
    most = int(held.slot[0, 0, 0]) + 1  # a row for every class, and row 0
    size = held.slot.shape[2]
    while size < min(count + time, most):
        size = min(2 * size, most)
    table, slot, bucket = held
    if not donate or size > slot.shape[2]:
        more = size - slot.shape[2]
        table = pad(table, (0, 0, 0, more)) if more else table.clone()
        slot = pad(slot, (0, more), value=most - 1) if more else slot.clone()
        bucket = None if more or bucket is None else bucket.clone()
    bucket = buckets(slot) if bucket is None else bucket
    clock = clock.clone()
    mask = torch.ones(batch, time, dtype=torch.bool) if mask is None else mask.contiguous()
    carried = table.new_empty(batch, time, min(count + time, size))
    spread(_run, batch, ((table, slot, bucket), clock, mask, tuple(steps), log_retention, carried))
    scores = Scores((carried,), (slot[:, 0, : carried.shape[2]],))
    return scores, Held(table, slot, bucket), clock


@njit(nogil=True, cache=True)
def _run(first, last, held, clocks, masks, steps, log_retention, scores):
    (tables, slots, buckets), (observed, keys, rates, queries) = held, steps
    for b in range(first, last):
        table, clock = tables[b, 0], clocks[b]
        powers = _powers(log_retention, clock + len(masks[b]))
        for t in range(len(masks[b])):
            if not masks[b, t]:
                continue
            clock += 1
            if rates[b, t].any():
                row = find_or_claim(observed[b, t], slots[b, 0], buckets[b, 0])
                _write(table[row], clock, keys[b, t], rates[b, t], powers)
            _read(table, clock, queries[b, t], powers, scores[b, t])
        clocks[b] = clock


@njit(nogil=True, cache=True)
def _powers(log_retention, most):
    """What is left after 0, 1, 2, ... idle steps, and after 0, S, 2 S, ..., where S = 2^shift."""
    shift = 1
    while most >> (2 * shift):
        shift += 1
    few = np.exp(np.arange(1 << shift).reshape(-1, 1) * log_retention)
    many = np.exp((np.arange((most >> shift) + 1) << shift).reshape(-1, 1) * log_retention)
    return shift, few.astype(log_retention.dtype), many.astype(log_retention.dtype)


@njit(nogil=True, cache=True, inline="always")
def _idle(row, clock):
    """Steps since a row was written."""
    return clock - np.int64(row[-1] * EPOCH + 0.5)


@njit(nogil=True, cache=True, fastmath=FAST)
def _write(row, clock, key, rate, powers):
    """Decay a row until now, and correct it."""
    shift, few, many = powers
    heads, width = key.shape
    idle = _idle(row, clock)
    low, high = idle & (len(few) - 1), idle >> shift
    for h in range(heads):
        left, part = few[low, h] * many[high, h], row[h * width : (h + 1) * width]
        for k in range(width):
            kept = left * part[k]
            part[k] = kept + rate[h] * (key[h, k] - kept)
    row[-1] = clock / EPOCH


@njit(nogil=True, cache=True, fastmath=FAST)
def _read(table, clock, query, powers, scores):
    """Compare a query with all rows."""
    shift, few, many = powers
    heads, width = query.shape
    for r in range(len(scores)):
        row = table[r]
        idle = _idle(row, clock)
        low, high = idle & (len(few) - 1), idle >> shift
        score = table.dtype.type(0)
        for h in range(heads):
            part, wanted, found = row[h * width : (h + 1) * width], query[h], table.dtype.type(0)
            for k in range(width):
                found += part[k] * wanted[k]
            score += few[low, h] * many[high, h] * found
        scores[r] = score
