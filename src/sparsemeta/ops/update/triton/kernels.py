"""The walk over a segment and the walk back, as Triton kernels: one program for some columns.

A program owns BV columns of the rows of one head of one stream: columns never meet, given the
addresses, so programs need not speak to each other. Its threads do: what a step stores, the next
may load, so there is a barrier after the loads of a step and one after its stores.

What a step reads is loaded together with what it writes, before the write, and then corrected where
a row is in both: a step waits for memory once. What does not depend on the table is loaded a step
ahead. Sums over columns are left per program, and added up by the caller in a fixed order.
"""

import triton
import triton.language as tl


@triton.jit
def _address(index, weight, place, active: tl.constexpr, padded: tl.constexpr, dtype: tl.constexpr):
    """An address at a place (step and head); what pads it to a power of 2 weighs nothing."""
    a = tl.arange(0, padded)
    slot = tl.load(index + place * active + a, mask=a < active, other=-1)
    return slot, tl.load(weight + place * active + a, mask=a < active, other=0.0).to(dtype)


@triton.jit
def _step(given, place, sizes, column, inside, dtype: tl.constexpr):
    """All of a step that does not depend on the table."""
    w_index, w_weight, value, rate, kept, r_index, r_weight = given
    A: tl.constexpr = sizes[0]
    AP: tl.constexpr = sizes[1]
    R: tl.constexpr = sizes[2]
    RP: tl.constexpr = sizes[3]
    V: tl.constexpr = sizes[4]
    written, w = _address(w_index, w_weight, place, A, AP, dtype)
    seen, r = _address(r_index, r_weight, place, R, RP, dtype)
    v = tl.load(value + place * V + column, mask=inside, other=0.0).to(dtype)
    beta = tl.load(rate + place).to(dtype)
    keep = tl.exp(tl.load(kept + place).to(dtype))
    return written, w, v, beta, keep, seen, r


@triton.jit
def _met(one, other, weight):
    """Where entries of two addresses are the same slot; and the weights of each one's matches."""
    same = (one[:, None] == other[None, :]) & (one[:, None] >= 0)
    return tl.max(same.to(tl.int32), 1) > 0, tl.sum(tl.where(same, weight[None, :], 0.0), 1)


@triton.jit
def forward(
    given,
    tensors,
    shape,
    sizes: tl.constexpr,
    BV: tl.constexpr,
    delta: tl.constexpr,
    save: tl.constexpr,
):
    """Retain, write, read; equations (3) to (5). Saves rows as they were written and read."""
    A: tl.constexpr = sizes[0]
    AP: tl.constexpr = sizes[1]
    R: tl.constexpr = sizes[2]
    RP: tl.constexpr = sizes[3]
    V: tl.constexpr = sizes[4]
    table, read, old, seen = tensors
    T, heads, slots = shape
    dtype: tl.constexpr = table.dtype.element_ty
    pair = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BV + tl.arange(0, BV)
    inside = column < V
    a, r = tl.arange(0, AP)[:, None], tl.arange(0, RP)[:, None]
    table += pair * slots * V
    place = pair // heads * T * heads + pair % heads
    following = _step(given, place, sizes, column, inside, dtype)
    for t in range(T):
        w_index, w, v, beta, keep, r_index, rw = following
        ahead = tl.where(t + 1 < T, place + heads, place)
        following = _step(given, ahead, sizes, column, inside, dtype)
        # An index outside the table reads nothing and writes nothing: no check, and no harm.
        w_there = ((w_index >= 0) & (w_index < slots))[:, None] & inside[None, :]
        r_there = ((r_index >= 0) & (r_index < slots))[:, None] & inside[None, :]
        w_at = table + w_index[:, None] * V + column[None, :]
        before = tl.load(w_at, mask=w_there, other=0.0)
        rows = tl.load(table + r_index[:, None] * V + column[None, :], mask=r_there, other=0.0)
        tl.debug_barrier()

        kept = keep * before
        update = v
        if delta:
            update -= tl.sum(w[:, None] * kept, 0)
        update *= beta
        _, total = _met(w_index, w_index, w)
        written, added = _met(r_index, w_index, w)
        tl.store(w_at, kept + total[:, None] * update[None, :], mask=w_there)
        rows = tl.where(written[:, None], keep * rows, rows) + added[:, None] * update[None, :]
        tl.store(read + place * V + column, tl.sum(rw[:, None] * rows, 0), mask=inside)
        if save:
            tl.store(old + (place * A + a) * V + column[None, :], before, mask=w_there)
            tl.store(seen + (place * R + r) * V + column[None, :], rows, mask=r_there)
        tl.debug_barrier()
        place += heads


@triton.jit
def backward(
    given,
    saved,
    d_rows,
    made,
    shape,
    sizes: tl.constexpr,
    BV: tl.constexpr,
    delta: tl.constexpr,
):
    """The gradients of everything, backward in time; `d_rows` are those of the rows touched."""
    A: tl.constexpr = sizes[0]
    AP: tl.constexpr = sizes[1]
    R: tl.constexpr = sizes[2]
    RP: tl.constexpr = sizes[3]
    V: tl.constexpr = sizes[4]
    dtype: tl.constexpr = d_rows.dtype.element_ty
    d_read, old, seen = saved
    T, heads, slots, pairs = shape
    d_w_weight, d_value, d_rate, d_kept, d_r_weight = made
    pair = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BV + tl.arange(0, BV)
    inside = column < V
    part = tl.program_id(1).to(tl.int64) * pairs * T  # what is left for the caller to add up
    a, r = tl.arange(0, AP), tl.arange(0, RP)
    earlier = a[None, :] < a[:, None]
    d_rows += pair * slots * V
    place = pair // heads * T * heads + (T - 1) * heads + pair % heads
    following = _step(given, place, sizes, column, inside, dtype)
    for t in range(T):
        w_index, w, v, beta, keep, r_index, rw = following
        ahead = tl.where(t + 1 < T, place - heads, place)
        following = _step(given, ahead, sizes, column, inside, dtype)
        w_there = ((w_index >= 0) & (w_index < slots))[:, None] & inside[None, :]
        r_there = ((r_index >= 0) & (r_index < slots))[:, None] & inside[None, :]
        w_at = d_rows + w_index[:, None] * V + column[None, :]
        r_at = d_rows + r_index[:, None] * V + column[None, :]
        d_new = tl.load(w_at, mask=w_there, other=0.0)
        d_seen = tl.load(r_at, mask=r_there, other=0.0)
        d_out = tl.load(d_read + place * V + column, mask=inside, other=0.0).to(dtype)
        at = (place * A + a[:, None]) * V + column[None, :]
        before = tl.load(old + at, mask=w_there, other=0.0)
        at = (place * R + r[:, None]) * V + column[None, :]
        rows = tl.load(seen + at, mask=r_there, other=0.0)
        tl.debug_barrier()

        # (5) read
        found = tl.sum(rows * d_out[None, :], 1)
        tl.store(d_r_weight + (part + place) * R + r, found, mask=r < R)
        written, _ = _met(r_index, w_index, w)
        _, total = _met(r_index, r_index, rw)
        alone = r_there & (written == 0)[:, None]
        tl.store(r_at, d_seen + total[:, None] * d_out[None, :], mask=alone)
        _, added = _met(w_index, r_index, rw)
        d_new += added[:, None] * d_out[None, :]

        # (4) write: rows = kept + w (x) beta (value - kept^T w), where kept = keep * old
        kept = keep * before
        error = v
        if delta:
            error -= tl.sum(w[:, None] * kept, 0)
        d_update = tl.sum(w[:, None] * d_new, 0)
        tl.store(d_rate + part + place, tl.sum(d_update * error, 0))
        d_error = beta * d_update
        tl.store(d_value + place * V + column, d_error, mask=inside)
        found = beta * tl.sum(d_new * error[None, :], 1)
        if delta:
            found -= tl.sum(kept * d_error[None, :], 1)
            _, total = _met(w_index, w_index, w)
            d_new -= total[:, None] * d_error[None, :]
        tl.store(d_w_weight + (part + place) * A + a, found, mask=a < A)

        # (3) retain, each slot once
        same = (w_index[:, None] == w_index[None, :]) & earlier
        first = tl.max(same.to(tl.int32), 1) == 0
        found = tl.sum(tl.where(first[:, None], d_new * kept, 0.0), 1)
        tl.store(d_kept + part + place, tl.sum(found, 0))
        tl.store(w_at, keep * d_new, mask=w_there)
        tl.debug_barrier()
        place -= heads
