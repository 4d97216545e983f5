"""The update as one operator of torch: what a traced graph holds of it, whatever its form.

`sparsemeta::scan` changes nothing that it is given, and keeps nothing else for its backward pass:
the rows before the segment, not those of each step, which are computed once more. Where nothing is
traced the forms are called as they are, and may work in place.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sparsemeta.ops.types import Address, Segment
from sparsemeta.ops.update.backends import BACKENDS, choose
from sparsemeta.ops.update.compact import Form, over_rows


def form_of(name: str, segment: Segment) -> Form:
    """A form as it is to be called here: through the operator if a graph is traced."""
    if torch.compiler.is_compiling():
        return over_rows(partial(_traced, name), whole=False)
    return BACKENDS[choose(name, segment)].function


def _traced(name: str, segment: Segment, rows: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    write, value, rate, kept, read = segment
    given = [*write, value, rate, *read, *([] if kept is None else [kept])]
    return _scan(name, rule, given, rows)


def _run(name: str, rule: str, given: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    written, weight, value, rate, seen, read_weight, *kept = given
    write, read = Address(written, weight), Address(seen, read_weight)
    segment = Segment(write, value, rate, kept[0] if kept else None, read)
    rows = rows.clone(memory_format=torch.contiguous_format)
    return BACKENDS[choose(name, segment)].function(segment, rows, None, None, rule)


@torch.library.custom_op("sparsemeta::scan", mutates_args=())
def _scan(name: str, rule: str, given: Sequence[Tensor], rows: Tensor) -> tuple[Tensor, Tensor]:
    """Run a segment over rows (B, H, U, V), without masks and resets."""
    return _run(name, rule, given, rows)


@torch.library.custom_op("sparsemeta::scan_back", mutates_args=())
def _back(
    name: str, rule: str, given: Sequence[Tensor], rows: Tensor, d_made: Sequence[Tensor]
) -> list[Tensor]:
    """The gradients of the floats that a segment was given, and of the rows, in their order."""
    leaves = [x.detach().requires_grad_(x.is_floating_point()) for x in (*given, rows)]
    with torch.enable_grad():
        made = _run(name, rule, leaves[:-1], leaves[-1])
    floats = [x for x in leaves if x.requires_grad]
    return [x.contiguous() for x in torch.autograd.grad(made, floats, list(d_made))]


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
    found = iter(_back(ctx.name, ctx.rule, given, rows, list(d_made)))
    d_given = [next(found) if x.is_floating_point() else None for x in given]
    return None, None, d_given, next(found)


_scan.register_autograd(_differentiate, setup_context=_keep)
