"""Launching the kernels: how a segment is laid over programs, and which rows the way back sums."""

from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
import triton
from torch import Tensor

from sparsemeta.errors import ScanError
from sparsemeta.ops.types import Address
from sparsemeta.ops.update.compact import compact, put, take
from sparsemeta.ops.update.inplace import Inputs, Loop, Saved
from sparsemeta.ops.update.triton import kernels

COLUMNS = 16
"""BV, columns of a program: more programs and shorter steps, and what they fetch is 64 bytes."""
NUMBERS = 1024
"""Of a tile of rows, A + R by BV, for each warp: more would not stay in its registers."""


def interpreted() -> bool:
    """Whether Python plays the GPU: TRITON_INTERPRET=1 when the kernels were first imported."""
    return not isinstance(kernels.forward, triton.JITFunction)


def _launch(kernel: Any, grid: tuple[int, int], table: Tensor, *given: Any, **options: Any) -> None:
    """Run a kernel where the table is; on the meta device, where shapes are all, there is none."""
    if not table.is_meta:
        with torch.cuda.device(table.device) if table.is_cuda else nullcontext():
            kernel[grid](*given, **options)


def _power(count: int) -> int:
    return 1 << max(0, count - 1).bit_length()


def _layout(inputs: Inputs) -> tuple[tuple[int, int], tuple[int, ...], dict[str, int]]:
    """The grid, the sizes that a kernel is compiled for, and its options."""
    written, read, value = inputs[0], inputs[5], inputs[2]
    batch, _, heads, width = value.shape
    counts = written.shape[3], read.shape[3]
    sizes = (counts[0], _power(counts[0]), counts[1], _power(counts[1]), width)
    columns = min(COLUMNS, _power(width))
    warps = (sizes[1] + sizes[3]) * columns // NUMBERS
    grid = batch * heads, -(-width // columns)
    # One stage: a load moved ahead of an earlier step's store would find what was there before.
    return grid, sizes, {"BV": columns, "num_warps": min(8, max(1, _power(warps))), "num_stages": 1}


def forward(inputs: Inputs, table: Tensor, rule: str, save: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Walk over a segment, on the table in place; see `Loop`."""
    if not (table.is_cuda or table.is_meta or interpreted()):
        raise ScanError(
            f"backend is 'triton', which runs on GPUs, but the segment is on the "
            f"{table.device.type}: choose auto, or move it and its memory to a GPU"
        )
    grid, sizes, options = _layout(inputs)
    time, heads, width = inputs[2].shape[1:]
    kept = width if save else 0
    old, seen = (table.new_empty(*inputs[i].shape, kept) for i in (0, 5))
    read = table.new_empty(inputs[2].shape)
    walk = inputs, (table, read, old, seen), (time, heads, table.shape[2]), sizes
    _launch(kernels.forward, grid, table, *walk, delta=rule == "delta", save=save, **options)
    return read, old, seen


def backward(
    inputs: Inputs, saved: Saved, d_read: Tensor, d_table: Tensor | None, slots: int, rule: str
) -> Inputs:
    """Walk back; see `Loop`. Gradients are summed in the rows that the segment touches, if few."""
    grid, sizes, options = _layout(inputs)
    written, weights, value, rate, kept, seen, read_weights = inputs
    batch, time, heads, width = value.shape
    new = partial(torch.empty, dtype=d_read.dtype, device=d_read.device)
    rows, d_rows = None, d_table
    if slots > time * (sizes[0] + sizes[2]):
        rows = compact(Address(written, weights), Address(seen, read_weights), None, slots)
        written, seen = rows.write.index.contiguous(), rows.read.index.contiguous()
        slots = rows.slot.shape[2]
        d_rows = None if d_table is None else take(d_table, rows.slot)
    if d_rows is None:
        d_rows = d_read.new_zeros(batch, heads, slots, width)
    like = weights, value, rate, kept, read_weights
    made = tuple(new(x.shape if x is value else (grid[1], *x.shape)) for x in like)
    given = written, weights, value, rate, kept, seen, read_weights
    walk = given, (d_read, *saved), d_rows, made, (time, heads, slots, batch * heads), sizes
    _launch(kernels.backward, grid, d_rows, *walk, delta=rule == "delta", **options)
    if rows is not None and d_table is not None:
        put(d_table, rows, d_rows)
    sums = (x if x.shape == given.shape else x.sum(0) for x, given in zip(made, like, strict=True))
    return tuple(x.to(given.dtype) for x, given in zip(sums, like, strict=True))


WALK = Loop(forward, backward)
