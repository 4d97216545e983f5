"""Equations (3)-(5) as a compiled loop: on a CPU, a few rows at a time fit its cache.

The table is updated in place. When gradients are wanted, each step saves the rows that it is about
to change and the rows that it reads; the backward pass then needs no table, and sums the gradients
of the touched rows in a small one of its own. So nothing costs more when there are more slots.
Needs numba.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sparsemeta.ops.compiled import FAST, spread
from sparsemeta.ops.table.hashing import number
from sparsemeta.ops.update.inplace import Inputs, Loop, Saved


def forward(inputs: Inputs, rows: Tensor, rule: str, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The loop, on a table in place; see `Loop`."""
    w_index, _, value, _, _, r_index, _ = inputs
    batch, _, heads, width = value.shape
    read = torch.empty_like(value)
    old, seen = (value.new_empty(*i.shape, width if save else 0) for i in (w_index, r_index))
    spread(_forward, batch * heads, (inputs, rows, read, old, seen), rule == "delta")
    return read, old, seen


def backward(
    inputs: Inputs, saved: Saved, d_read: Tensor, d_rows: Tensor | None, slots: int, rule: str
) -> Inputs:
    """The loop back; see `Loop`. It numbers the touched rows, however many slots there are."""
    batch, _, heads, width = d_read.shape
    d_rows = d_read.new_zeros(batch, heads, 0, width) if d_rows is None else d_rows
    made = tuple(torch.empty_like(inputs[i]) for i in (1, 2, 3, 4, 6))
    arrays = (inputs, d_read, saved, (*made, d_rows))
    spread(_backward, batch * heads, arrays, rule == "delta")
    return made


LOOP = Loop(forward, backward)


@njit(nogil=True, cache=True, fastmath=FAST)
def _seen_before(index, a):
    """Whether entry a of an address names the slot of an earlier entry."""
    for earlier in range(a):  # noqa: SIM110 (numba compiles no generator)
        if index[earlier] == index[a]:
            return True
    return False


@njit(nogil=True, cache=True, fastmath=FAST)
def _save(table, index, rows):
    """Copy the rows of an address, unless there is no room for them."""
    for a in range(len(index)):
        row, copy = table[index[a]], rows[a]
        for v in range(len(copy)):
            copy[v] = row[v]


@njit(nogil=True, cache=True)
def _same(one, other):
    """Whether two addresses name the same slots in the same order.

    A layer writes where it last read: the rows read are then those saved before the next write.
    """
    if len(one) != len(other):
        return False
    for a in range(len(one)):  # noqa: SIM110 (numba compiles no generator)
        if one[a] != other[a]:
            return False
    return True


# In the kernels a row is always taken out as a view first: LLVM then sees one stretch of memory and
# turns the loop over it into SIMD, which is five times faster than indexing the table.


@njit(nogil=True, cache=True, fastmath=FAST)
def _forward(first, last, delta, inputs, tables, read, olds, seen):
    w_index, w_weight, value, rate, log_retention, r_index, r_weight = inputs
    _, time, heads, active = w_index.shape
    width = value.shape[3]
    update = np.empty(width, value.dtype)
    for pair in range(first, last):
        b, h = pair // heads, pair % heads
        table = tables[b, h]
        for t in range(time):
            index, weight = w_index[b, t, h], w_weight[b, t, h]
            _save(table, index, olds[b, t, h])

            if log_retention[b, t, h] != 0:  # (3) retain
                keep = np.exp(log_retention[b, t, h])
                for a in range(active):
                    if not _seen_before(index, a):
                        row = table[index[a]]
                        for v in range(width):
                            row[v] *= keep

            update[:] = value[b, t, h]  # (4) write
            if delta:
                for a in range(active):
                    row, w = table[index[a]], weight[a]
                    for v in range(width):
                        update[v] -= w * row[v]
            beta = rate[b, t, h]
            for v in range(width):
                update[v] *= beta
            for a in range(active):
                row, w = table[index[a]], weight[a]
                for v in range(width):
                    row[v] += w * update[v]

            index, weight, out = r_index[b, t, h], r_weight[b, t, h], read[b, t, h]  # (5) read
            out[:] = 0
            for a in range(len(index)):
                row, w = table[index[a]], weight[a]
                for v in range(width):
                    out[v] += w * row[v]
            if t + 1 == time or not _same(index, w_index[b, t + 1, h]):
                _save(table, index, seen[b, t, h])


@njit(nogil=True, cache=True, fastmath=FAST)
def _backward(first, last, delta, inputs, d_read, saved, gradients):
    w_index, w_weight, value, rate, log_retention, r_index, r_weight = inputs
    olds, seen = saved
    d_w_weight, d_value, d_rate, d_retention, d_r_weight, d_tables = gradients
    _, time, heads, active = w_index.shape
    width = value.shape[3]
    error = np.empty(width, value.dtype)
    d_error = np.empty(width, value.dtype)
    for pair in range(first, last):
        b, h = pair // heads, pair % heads
        w_row = np.empty((time, active), np.int32)
        r_row = np.empty((time, r_index.shape[3]), np.int32)
        slot = number(w_index[b, :, h], r_index[b, :, h], w_row, r_row)
        d_table = np.zeros((len(slot), width), value.dtype)
        if d_tables.shape[2]:
            for i in range(1, len(slot)):
                d_table[i] = d_tables[b, h, slot[i]]
        for t in range(time - 1, -1, -1):
            index, weight = r_row[t], r_weight[b, t, h]  # (5) read
            d_out, rows = d_read[b, t, h], seen[b, t, h]
            if t + 1 < time and _same(r_index[b, t, h], w_index[b, t + 1, h]):
                rows = olds[b, t + 1, h]
            for a in range(len(index)):
                row, d_row, w = rows[a], d_table[index[a]], weight[a]
                total = value.dtype.type(0)
                for v in range(width):
                    total += d_out[v] * row[v]
                    d_row[v] += w * d_out[v]
                d_r_weight[b, t, h, a] = total

            # (4) write: rows = kept + w (x) beta (value - kept^T w), where kept = keep * old
            index, weight = w_row[t], w_weight[b, t, h]
            beta, keep = rate[b, t, h], np.exp(log_retention[b, t, h])
            error[:] = value[b, t, h]
            d_error[:] = 0
            for a in range(active):
                d_row, old = d_table[index[a]], olds[b, t, h, a]
                w, kept = weight[a], keep * weight[a]
                for v in range(width):
                    d_error[v] += w * d_row[v]
                if delta:
                    for v in range(width):
                        error[v] -= kept * old[v]
            total = value.dtype.type(0)
            for v in range(width):
                total += d_error[v] * error[v]
                d_error[v] *= beta
            d_rate[b, t, h] = total
            d_value[b, t, h] = d_error
            for a in range(active):
                d_row, old = d_table[index[a]], olds[b, t, h, a]
                total = value.dtype.type(0)
                for v in range(width):
                    total += beta * error[v] * d_row[v]
                if delta:
                    for v in range(width):
                        total -= keep * d_error[v] * old[v]
                d_w_weight[b, t, h, a] = total
            if delta:
                for a in range(active):
                    d_row, w = d_table[index[a]], weight[a]
                    for v in range(width):
                        d_row[v] -= w * d_error[v]

            total = value.dtype.type(0)  # (3) retain
            for a in range(active):
                if not _seen_before(index, a):
                    d_row, old = d_table[index[a]], olds[b, t, h, a]
                    for v in range(width):
                        total += keep * d_row[v] * old[v]
                        d_row[v] *= keep
            d_retention[b, t, h] = total
        if d_tables.shape[2]:
            for i in range(1, len(slot)):
                d_tables[b, h, slot[i]] = d_table[i]
