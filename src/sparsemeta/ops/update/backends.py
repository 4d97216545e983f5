"""The forms of the update as a table: a new one is a row here and a file beside this one."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from sparsemeta.errors import ScanError, installed, require_installed
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.types import Segment
from sparsemeta.ops.update.chunked import scan_chunked
from sparsemeta.ops.update.compact import Form, over_rows
from sparsemeta.ops.update.inplace import run_in_place
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
    return few and usable(segment.value)


def _native(segment: Segment, table: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    from sparsemeta.ops.update.native import LOOP

    return run_in_place(LOOP, segment, table, rule)


def _walked(segment: Segment) -> bool:
    active = segment.write.index.shape[3] + segment.read.index.shape[3]
    return active <= WALKED_ROWS and segment.value.is_cuda and installed("triton")


def _triton(segment: Segment, table: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    from sparsemeta.ops.update.triton import WALK, interpreted

    if not (segment.value.is_cuda or interpreted()):
        raise ScanError(
            f"backend is 'triton', which runs on GPUs, but the segment is on the "
            f"{segment.value.device.type}: choose auto, or move it and its memory to a GPU"
        )
    return run_in_place(WALK, segment, table, rule)


BACKENDS = {
    "native": Backend(_fine(over_rows(_native, whole=True)), _looped, ("numba", "fast")),
    "triton": Backend(over_rows(_triton, whole=True), _walked, ("triton", "gpu")),
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
    if needed := BACKENDS[name].package:
        require_installed(*needed)
    return name
