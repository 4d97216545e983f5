"""Equations (3)-(5) as a compiled loop: on a CPU, a few rows at a time fit its cache.

The rows that each step is about to change are saved first; the backward pass walks the steps in
reverse and puts them back, so it sees every table as it was and never copies one. Needs numba.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from numba import njit
from torch import Tensor

# Sums may be reordered (that is what makes them SIMD); NaN and infinity keep their meaning.
FAST = {"reassoc", "contract", "nsz", "arcp"}


def scan_native(
    write_index: Tensor,
    write_weight: Tensor,
    value: Tensor,
    rate: Tensor,
    log_retention: Tensor | None,
    read_index: Tensor,
    read_weight: Tensor,
    rows: Tensor,
    rule: str,
) -> tuple[Tensor, Tensor]:
    """Run a segment over its touched rows, in place.

    Arguments and returns are those of `scan_chunked`, but that `rows` is overwritten and returned.
    """
    if log_retention is None:
        log_retention = torch.zeros_like(rate)
    return _NativeScan.apply(  # type: ignore[return-value]
        write_index,
        write_weight,
        value,
        rate,
        log_retention,
        read_index,
        read_weight,
        rows,
        rule == "delta",
    )


class _NativeScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w_index, w_weight, value, rate, log_retention, r_index, r_weight, rows, delta):
        training = any(ctx.needs_input_grad)
        inputs = [
            x.contiguous()
            for x in (w_index, w_weight, value, rate, log_retention, r_index, r_weight)
        ]
        # The same memory as another tensor: to autograd, an output and not a changed input.
        rows = torch.from_numpy(rows.detach().numpy())
        read = torch.empty_like(inputs[2])
        saved = value.new_empty(*w_index.shape, value.shape[-1] if training else 0)
        over_heads(_forward, (*inputs, rows, read, saved), delta)
        ctx.save_for_backward(*inputs, rows, saved)
        ctx.delta = delta
        ctx.set_materialize_grads(False)
        return read, rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_read, d_rows):  # type: ignore[override]
        *inputs, rows, saved = ctx.saved_tensors
        gradients = [torch.empty_like(inputs[i]) for i in (1, 2, 3, 4, 6)]
        if d_read is None:
            d_read = torch.zeros_like(inputs[2])
        if d_rows is None:  # truncated: nothing after the segment looks back
            d_rows = torch.zeros_like(rows)
        else:
            d_rows = d_rows.clone(memory_format=torch.contiguous_format)
        arrays = (*inputs, rows.clone(), d_read.contiguous(), saved, *gradients, d_rows)
        over_heads(_backward, arrays, ctx.delta)
        d_write, d_value, d_rate, d_retention, d_read_weight = gradients
        return None, d_write, d_value, d_rate, d_retention, None, d_read_weight, d_rows, None


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sparsemeta")


def over_heads(kernel, tensors: tuple[Tensor, ...], *options: bool) -> None:
    """Run a kernel over all (batch, head) pairs, split evenly over torch's threads.

    Args:
        kernel: called as kernel(first pair, last pair, *options, *arrays).
        tensors: what it reads and writes; the first is (B, T, H, A).
        options: what else it is told.
    """
    arrays = [x.detach().numpy() for x in tensors]
    pairs = arrays[0].shape[0] * arrays[0].shape[2]
    threads = min(torch.get_num_threads(), pairs)
    if threads == 1 or arrays[0].size < 4096:  # too little work to hand to another thread
        kernel(0, pairs, *options, *arrays)
        return
    cuts = np.linspace(0, pairs, threads + 1).astype(int)
    jobs: list[Future] = [
        _pool(threads).submit(kernel, first, last, *options, *arrays)
        for first, last in pairwise(cuts)
    ]
    for job in jobs:
        job.result()


@njit(nogil=True, cache=True, fastmath=FAST)
def _seen_before(index, a):
    """Whether entry a of an address names the slot of an earlier entry."""
    for earlier in range(a):  # noqa: SIM110 (numba compiles no generator)
        if index[earlier] == index[a]:
            return True
    return False


# In the kernels a row is always taken out as a view first: LLVM then sees one stretch of memory and
# turns the loop over it into SIMD, which is five times faster than indexing the table.


@njit(nogil=True, cache=True, fastmath=FAST)
def _forward(
    first, last, delta, w_index, w_weight, value, rate, log_retention, r_index, r_weight,
    tables, read, saved,
):  # fmt: skip
    _, time, heads, active = w_index.shape
    width = value.shape[3]
    update = np.empty(width, value.dtype)
    for pair in range(first, last):
        b, h = pair // heads, pair % heads
        table = tables[b, h]
        for t in range(time):
            index, weight = w_index[b, t, h], w_weight[b, t, h]
            if saved.shape[4]:
                for a in range(active):
                    row, copy = table[index[a]], saved[b, t, h, a]
                    for v in range(width):
                        copy[v] = row[v]

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


@njit(nogil=True, cache=True, fastmath=FAST)
def _backward(
    first, last, delta, w_index, w_weight, value, rate, log_retention, r_index, r_weight,
    tables, d_read, saved, d_w_weight, d_value, d_rate, d_retention, d_r_weight, d_tables,
):  # fmt: skip
    _, time, heads, active = w_index.shape
    width = value.shape[3]
    error = np.empty(width, value.dtype)
    d_error = np.empty(width, value.dtype)
    for pair in range(first, last):
        b, h = pair // heads, pair % heads
        table, d_table = tables[b, h], d_tables[b, h]
        for t in range(time - 1, -1, -1):
            index, weight = r_index[b, t, h], r_weight[b, t, h]  # (5) read
            d_out = d_read[b, t, h]
            for a in range(len(index)):
                row, d_row, w = table[index[a]], d_table[index[a]], weight[a]
                total = value.dtype.type(0)
                for v in range(width):
                    total += d_out[v] * row[v]
                    d_row[v] += w * d_out[v]
                d_r_weight[b, t, h, a] = total

            # (4) write: rows = kept + w (x) beta (value - kept^T w), where kept = keep * old
            index, weight = w_index[b, t, h], w_weight[b, t, h]
            beta, keep = rate[b, t, h], np.exp(log_retention[b, t, h])
            error[:] = value[b, t, h]
            d_error[:] = 0
            for a in range(active):
                row, d_row, old = table[index[a]], d_table[index[a]], saved[b, t, h, a]
                w, kept = weight[a], keep * weight[a]
                for v in range(width):
                    row[v] = old[v]
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
                d_row, old = d_table[index[a]], saved[b, t, h, a]
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
                    d_row, old = d_table[index[a]], saved[b, t, h, a]
                    for v in range(width):
                        total += keep * d_row[v] * old[v]
                        d_row[v] *= keep
            d_retention[b, t, h] = total
