"""The row memory as a loop over time, compiled for CPUs: for a few steps without a gradient.

Every step writes one row, in place, and reads all: what is carried is read from memory once, and
that is what a step costs. What is left of a row after so many idle steps is a product of two
powers, looked up. Needs numba.
"""

import numpy as np
from jaxtyping import Bool, Float
from numba import njit
from torch import Tensor

from sparsemeta.ops.compiled import FAST, spread
from sparsemeta.ops.output.types import EPOCH, Outcomes, Rows


def rows_native(
    outcomes: Outcomes,
    before: Rows,
    mask: Bool[Tensor, "B T"],
    *,
    held: int,
    donate: bool = False,
) -> tuple[Float[Tensor, "B T C"], Rows]:
    """Run a segment without resets over the rows held.

    Args:
        outcomes: the segment, in rows of the table; a step that writes nothing may name any.
        before: the rows before it, with those that it claims.
        mask: True where the step is real; one that is not changes nothing.
        held: how many rows hold anything after it, the first ones.
        donate: allow `before` to be overwritten.

    Returns:
        Scores of the first `held` rows as each step leaves them, unspecified at masked steps; and
        the rows after the segment.
    """
    *steps, log_retention = (tensor.contiguous() for tensor in outcomes)
    table = before.table if donate else before.table.clone()
    clock = before.clock.clone()
    scores = table.new_empty(*mask.shape, held)
    spread(_run, len(table), (table, clock, mask.contiguous(), tuple(steps), log_retention, scores))
    return scores, Rows(table, clock)


@njit(nogil=True, cache=True, fastmath=FAST)
def _run(first, last, tables, clocks, masks, steps, log_retention, scores):
    rows, keys, rates, queries = steps
    for b in range(first, last):
        table, clock = tables[b], clocks[b]
        powers = _powers(log_retention, clock + len(masks[b]))
        for t in range(len(masks[b])):
            if masks[b, t]:
                clock += 1
                if rates[b, t].any():
                    _write(table[rows[b, t]], clock, keys[b, t], rates[b, t], powers)
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
