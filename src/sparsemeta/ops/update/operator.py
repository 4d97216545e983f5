"""A form that works in place as one operator of torch: what a traced graph holds of it.

`sparsemeta::scan` changes nothing that it is given, and keeps nothing else for its backward pass:
the rows before the segment, not those of each step, which are computed once more. Forms that are
made of torch's operations are traced as they are.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from sparsemeta.ops.types import Segment
from sparsemeta.ops.update.inplace import Inputs, Loop, inputs_of

LOOPS: dict[str, Callable[[], Loop]] = {}
"""By name; what makes a loop imports what it needs."""


def run_traced(name: str, segment: Segment, rows: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """Run a segment over rows (B, H, U, V), as `run_in_place` does, in a graph."""
    return _scan(name, rule, list(inputs_of(segment)), rows)


def _forward(
    name: str, rule: str, given: Sequence[Tensor], rows: Tensor, save: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    rows = rows.clone(memory_format=torch.contiguous_format)
    return rows, *LOOPS[name]().forward(_contiguous(given), rows, rule, save)


def _contiguous(given: Sequence[Tensor]) -> Inputs:
    return tuple(x.contiguous() for x in given)


@torch.library.custom_op("sparsemeta::scan", mutates_args=())
def _scan(name: str, rule: str, given: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    after, read, _, _ = _forward(name, rule, given, rows, save=False)
    return read, after


@torch.library.custom_op("sparsemeta::scan_back", mutates_args=())
def _back(
    name: str, rule: str, given: Sequence[Tensor], rows: Tensor, d_made: Sequence[Tensor]
) -> list[Tensor]:
    """The gradients of the floats that a segment was given, and of the rows, in their order."""
    _, _, *saved = _forward(name, rule, given, rows, save=True)
    d_read, d_rows = d_made[0].contiguous(), d_made[1].clone(memory_format=torch.contiguous_format)
    walk = _contiguous(given), (saved[0], saved[1]), d_read, d_rows, rows.shape[2], rule
    return [*LOOPS[name]().backward(*walk), d_rows]


@_scan.register_fake
def _(name: str, rule: str, given: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    return rows.new_empty(given[2].shape), rows.new_empty(rows.shape)


@_back.register_fake
def _(
    name: str, rule: str, given: Sequence[Tensor], rows: Tensor, d_made: Sequence[Tensor]
) -> list[Tensor]:
    return [x.new_empty(x.shape) for x in (*given, rows) if x.is_floating_point()]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.name, ctx.rule, given, rows = inputs
    ctx.save_for_backward(*given, rows)


def _differentiate(ctx: Any, *d_made: Tensor) -> tuple[Any, ...]:
    *given, rows = ctx.saved_tensors
    *d_given, d_rows = _back(ctx.name, ctx.rule, given, rows, list(d_made))
    found = iter(d_given)
    return None, None, [next(found) if x.is_floating_point() else None for x in given], d_rows


_scan.register_autograd(_differentiate, setup_context=_keep)
