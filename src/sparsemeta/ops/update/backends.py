"""The forms of the update as a table: a new one is a row here and a file beside this one."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sparsemeta.errors import MissingExtra, ScanError
from sparsemeta.ops.compiled import there
from sparsemeta.ops.types import Segment
from sparsemeta.ops.update.chunked import scan_chunked
from sparsemeta.ops.update.compact import Form, over_rows
from sparsemeta.ops.update.inplace import Loop, run_in_place
from sparsemeta.ops.update.operator import LOOPS, run_traced
from sparsemeta.ops.update.reference import scan_reference

LOOPED_ROWS = 32
"""Up to this many rows a step (A + R) the compiled loop beats matrix products on a CPU."""
LOOPED_STEPS = 4
"""Up to this many steps it does whatever the number of rows."""
WALKED_ROWS = 128
"""Up to this many a step's rows fit the registers of a GPU's program."""


class Backend(NamedTuple):
    """One form of the update.

    Attributes:
        function: called with a segment, the table before it, which it may overwrite, the mask and
            the resets, (B, T) bool or None, and the rule; returns what `scan` does.
        usable: whether it serves a segment well.
        package: what it needs that may not be installed, and the extra of ours that brings it.
    """

    function: Form
    usable: Callable[[Segment], bool] = lambda _: True
    package: tuple[str, str] | None = None


def _fine(form: Form) -> Form:
    """A form for segments that may be coarser than the table: they are made as fine first."""

    def run(
        segment: Segment, table: Tensor, mask: Tensor | None, reset: Tensor | None, rule: str
    ) -> tuple[Tensor, Tensor]:
        write, value, rate, kept, read = segment
        write, read = (a._replace(weight=a.weight.to(table)) for a in (write, read))
        kept = None if kept is None else kept.to(table)
        fine = Segment(write, value.to(table), rate.to(table), kept, read)
        return form(fine, table, mask, reset, rule)

    return run


def _looped(segment: Segment) -> bool:
    _, time, _, active = segment.write.index.shape
    few = active + segment.read.index.shape[3] <= LOOPED_ROWS or time <= LOOPED_STEPS
    return few and segment.value.is_cpu and there("numba")


def _walked(segment: Segment) -> bool:
    active = segment.write.index.shape[3] + segment.read.index.shape[3]
    return active <= WALKED_ROWS and segment.value.is_cuda and there("triton")


def _native() -> Loop:
    from sparsemeta.ops.update.native import LOOP

    return LOOP


def _triton() -> Loop:
    from sparsemeta.ops.update.triton.form import WALK

    return WALK


LOOPS |= {"native": _native, "triton": _triton}


def _in_place(name: str, segment: Segment, table: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    if torch.compiler.is_compiling():
        return run_traced(name, segment, table, rule)
    return run_in_place(LOOPS[name](), segment, table, rule)


_native_form, _triton_form = (partial(_in_place, name) for name in LOOPS)
BACKENDS = {
    "native": Backend(_fine(over_rows(_native_form, whole=True)), _looped, ("numba", "fast")),
    "triton": Backend(over_rows(_triton_form, whole=True), _walked, ("triton", "gpu")),
    "chunked": Backend(_fine(over_rows(scan_chunked, whole=False))),
    "reference": Backend(_fine(scan_reference)),
}
"""By name; `auto` takes the first that is usable."""


def choose(name: str, segment: Segment) -> str:
    """The form that a name stands for, where it is to run.

    Raises:
        ScanError: there is none of that name.
        MissingExtra: it needs a package that is not installed.
    """
    if name == "auto":
        return next(name for name, row in BACKENDS.items() if row.usable(segment))
    if name not in BACKENDS:
        raise ScanError(f"backend is {name!r}; choose auto, {', '.join(BACKENDS)}")
    needed = BACKENDS[name].package
    if needed and not there(needed[0]):
        raise MissingExtra(*needed)
    return name
