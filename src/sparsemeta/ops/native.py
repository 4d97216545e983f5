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
        _over_heads(_forward, (*inputs, rows, read, saved), delta)
        ctx.save_for_backward(*inputs, rows, saved)
        ctx.delta = delta
        return read, rows

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_read, d_rows):  # type: ignore[override]
        *inputs, rows, saved = ctx.saved_tensors
        gradients = [torch.empty_like(inputs[i]) for i in (1, 2, 3, 4, 6)]
        d_rows = d_rows.clone(memory_format=torch.contiguous_format)
        arrays = (*inputs, rows.clone(), d_read.contiguous(), saved, *gradients, d_rows)
        _over_heads(_backward, arrays, ctx.delta)
        d_write, d_value, d_rate, d_retention, d_read_weight = gradients
        return None, d_write, d_value, d_rate, d_retention, None, d_read_weight, d_rows, None


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sparsemeta")


def _over_heads(kernel, tensors: tuple[Tensor, ...], delta: bool) -> None:
    """Run a kernel over all (batch, head) pairs, split evenly over torch's threads."""
    arrays = [x.detach().numpy() for x in tensors]
    pairs = arrays[0].shape[0] * arrays[0].shape[2]
    threads = min(torch.get_num_threads(), pairs)
    if threads == 1 or arrays[0].size < 4096:  # too little work to hand to another thread
        kernel(0, pairs, delta, *arrays)
        return
    cuts = np.linspace(0, pairs, threads + 1).astype(int)
    jobs: list[Future] = [
        _pool(threads).submit(kernel, first, last, delta, *arrays) for first, last in pairwise(cuts)
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


@njit(nogil=True, cache=True, fastmath=FAST)
def _forward(
    first, last, delta, w_index, w_weight, value, rate, log_retention, r_index, r_weight,
    table, read, saved,
):  # fmt: skip
    _, time, heads, active = w_index.shape
    width = value.shape[3]
    update = np.empty(width, value.dtype)
    for pair in range(first, last):
        b, h = pair // heads, pair % heads
        for t in range(time):
            index, weight = w_index[b, t, h], w_weight[b, t, h]
            if saved.shape[4]:
                for a in range(active):
                    saved[b, t, h, a] = table[b, h, index[a]]
            if log_retention[b, t, h] != 0:  # (3) retain
                keep = np.exp(log_retention[b, t, h])
                for a in range(active):
                    if not _seen_before(index, a):
                        for v in range(width):
                            table[b, h, index[a], v] *= keep
            for v in range(width):  # (4) write
                update[v] = value[b, t, h, v]
            if delta:
                for a in range(active):
                    for v in range(width):
                        update[v] -= weight[a] * table[b, h, index[a], v]
            for v in range(width):
                update[v] *= rate[b, t, h]
            for a in range(active):
                for v in range(width):
                    table[b, h, index[a], v] += weight[a] * update[v]
            read[b, t, h] = 0  # (5) read
            for a in range(r_index.shape[3]):
                for v in range(width):
                    read[b, t, h, v] += r_weight[b, t, h, a] * table[b, h, r_index[b, t, h, a], v]


@njit(nogil=True, cache=True, fastmath=FAST)
def _backward(
    first, last, delta, w_index, w_weight, value, rate, log_retention, r_index, r_weight,
    table, d_read, saved, d_w_weight, d_value, d_rate, d_retention, d_r_weight, d_table,
):  # fmt: skip
    _, time, heads, active = w_index.shape
    width = value.shape[3]
    error = np.empty(width, value.dtype)
    d_error = np.empty(width, value.dtype)
    for pair in range(first, last):
        b, h = pair // heads, pair % heads
        for t in range(time - 1, -1, -1):
            index, weight = w_index[b, t, h], w_weight[b, t, h]
            beta, keep = rate[b, t, h], np.exp(log_retention[b, t, h])

            for a in range(r_index.shape[3]):  # (5) read
                row, total = r_index[b, t, h, a], value.dtype.type(0)
                for v in range(width):
                    total += d_read[b, t, h, v] * table[b, h, row, v]
                    d_table[b, h, row, v] += r_weight[b, t, h, a] * d_read[b, t, h, v]
                d_r_weight[b, t, h, a] = total

            for v in range(width):  # (4) write: rows = kept + w (x) beta (value - kept^T w)
                error[v] = value[b, t, h, v]
                d_error[v] = 0
            for a in range(active):
                table[b, h, index[a]] = saved[b, t, h, a]
                for v in range(width):
                    d_error[v] += weight[a] * d_table[b, h, index[a], v]
                    if delta:
                        error[v] -= weight[a] * keep * table[b, h, index[a], v]
            total = value.dtype.type(0)
            for v in range(width):
                total += d_error[v] * error[v]
                d_error[v] *= beta
                d_value[b, t, h, v] = d_error[v]
            d_rate[b, t, h] = total
            for a in range(active):
                total = value.dtype.type(0)
                for v in range(width):
                    total += beta * error[v] * d_table[b, h, index[a], v]
                    if delta:
                        total -= d_error[v] * keep * table[b, h, index[a], v]
                d_w_weight[b, t, h, a] = total
            if delta:
                for a in range(active):
                    for v in range(width):
                        d_table[b, h, index[a], v] -= weight[a] * d_error[v]

            total = value.dtype.type(0)  # (3) retain
            for a in range(active):
                if not _seen_before(index, a):
                    for v in range(width):
                        total += d_table[b, h, index[a], v] * keep * table[b, h, index[a], v]
                        d_table[b, h, index[a], v] *= keep
            d_retention[b, t, h] = total
