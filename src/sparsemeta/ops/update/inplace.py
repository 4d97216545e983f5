"""Forms that work on the table in place: what autograd is told of them, once for all."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from sparsemeta.ops.types import Function, Segment

Inputs = tuple[Tensor, ...]
"""Slots written and their weights, values, rates, log-retentions, slots read and their weights."""
Saved = tuple[Tensor, Tensor]
"""Rows before each write, (B, T, H, A, V), and at each read, (B, T, H, R, V)."""


class Loop(NamedTuple):
    """A loop over time, and the loop back.

    Attributes:
        forward: called with inputs, the table (B, H, N, V), the rule, and whether to save; returns
            what is read, and what is saved, of width 0 if it is not to be.
        backward: called with inputs, what was saved, the gradient of what was read, that of the
            table after, which it turns into that of the table before, N, and the rule. None stands
            for the table's where nobody asks for either. Returns the gradients of the inputs'
            floats.
    """

    forward: Callable[[Inputs, Tensor, str, bool], tuple[Tensor, Tensor, Tensor]]
    backward: Callable[[Inputs, Saved, Tensor, Tensor | None, int, str], Inputs]


def inputs_of(segment: Segment) -> Inputs:
    """A segment, flat and contiguous; what keeps everything has a log-retention of 0."""
    write, value, rate, kept, read = segment
    kept = torch.zeros_like(rate) if kept is None else kept
    return tuple(x.contiguous() for x in (*write, value, rate, kept, *read))


def run_in_place(loop: Loop, segment: Segment, rows: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """Run a segment over a table, in place, as `scan_chunked` does over a new one."""
    inputs = inputs_of(segment)
    if torch.is_grad_enabled() and any(x.requires_grad for x in (*inputs, rows)):
        output, rows_after = _InPlace.apply(loop, rule, *inputs, rows)
    else:
        (output, _, _), rows_after = loop.forward(inputs, rows, rule, False), rows
    if not rows.is_inference():
        torch.autograd.graph.increment_version(rows)  # whoever needs it as it was must be told
    return output, rows_after


class _InPlace(Function):
    @staticmethod
    def forward(ctx, loop, rule, *given):
        *inputs, rows = given
        read, old, seen = loop.forward(tuple(inputs), rows, rule, True)
        ctx.save_for_backward(*inputs, old, seen)
        ctx.set_materialize_grads(False)
        ctx.loop, ctx.rule, ctx.slots = loop, rule, rows.shape[2]
        # The same memory as another tensor: mark_dirty refuses views, and a detached state is one.
        return read, rows.data

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_read, d_rows):
        *inputs, old, seen = ctx.saved_tensors
        batch, time, heads, width = inputs[2].shape
        learned = ctx.needs_input_grad[-1]
        if d_read is None:
            d_read = old.new_zeros(batch, time, heads, width)
        if d_rows is not None:
            d_rows = d_rows.clone(memory_format=torch.contiguous_format)
        elif learned:
            d_rows = old.new_zeros(batch, heads, ctx.slots, width)
        given = tuple(inputs), (old, seen), d_read.contiguous(), d_rows, ctx.slots, ctx.rule
        made = ctx.loop.backward(*given)
        d_weight, d_value, d_rate, d_kept, d_read_weight = made
        found = None, d_weight, d_value, d_rate, d_kept, None, d_read_weight
        return None, None, *found, d_rows if learned else None
