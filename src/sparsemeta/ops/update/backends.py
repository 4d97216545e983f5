"""The forms of the update, as a table: a new one is a row here and a file beside this one."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from sparsemeta.errors import ScanError, require_installed
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.types import Segment
from sparsemeta.ops.update.chunked import scan_chunked
from sparsemeta.ops.update.compact import over_rows
from sparsemeta.ops.update.reference import scan_reference

LOOPED_ROWS = 32
"""Up to this many rows a step (A + R) the compiled loop beats matrix products on a CPU."""
LOOPED_STEPS = 4
"""Up to this many steps it does whatever the number of rows."""


class Backend(NamedTuple):
    """One form of the update.

    Attributes:
        function: called with a segment, the table before it, which it may overwrite, the mask and
            the resets, (B, T) bool or None, and the rule; returns what `scan` does.
        usable: whether it serves a segment well.
        package: what it needs that may not be installed, of the extra `fast`.
    """

    function: Callable[[Segment, Tensor, Tensor | None, Tensor | None, str], tuple[Tensor, Tensor]]
    usable: Callable[[Segment], bool]
    package: str | None = None


def _looped(segment: Segment) -> bool:
    _, time, _, active = segment.write.index.shape
    few = active + segment.read.index.shape[3] <= LOOPED_ROWS or time <= LOOPED_STEPS
    return few and usable(segment.value)


def _native(segment: Segment, table: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    from sparsemeta.ops.update.native import scan_native

    return scan_native(segment, table, rule)


BACKENDS = {
    "native": Backend(over_rows(_native, whole=True), _looped, "numba"),
    "chunked": Backend(over_rows(scan_chunked, whole=False), lambda _: True),
    "reference": Backend(scan_reference, lambda _: True),
}
"""By name; `auto` takes the first that is usable."""


def choose(name: str, segment: Segment) -> Backend:
    """The form of a name.

    Raises:
        ScanError: there is none of that name.
        MissingExtra: it needs a package that is not installed.
    """
    if name == "auto":
        return next(backend for backend in BACKENDS.values() if backend.usable(segment))
    if name not in BACKENDS:
        raise ScanError(f"backend is {name!r}; choose auto, {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    if backend.package:
        require_installed(backend.package, "fast")
    return backend
