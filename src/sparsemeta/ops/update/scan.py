"""`scan`: the one entry to the memory update. Checks its input, then runs a form of it.

The forms are a table: a new one is a row here and a file beside this one.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparsemeta.errors import ScanError, require_installed
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.types import Segment
from sparsemeta.ops.update.chunked import scan_chunked
from sparsemeta.ops.update.compact import Form, over_rows
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

    function: Form
    usable: Callable[[Segment], bool] = lambda _: True
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
    "chunked": Backend(over_rows(scan_chunked, whole=False)),
    "reference": Backend(scan_reference),
}
"""By name; `auto` takes the first that is usable."""


def scan(
    segment: Segment,
    *,
    slots: int,
    initial: Float[Tensor, "B H N V"] | None = None,
    mask: Bool[Tensor, "B T"] | None = None,
    reset: Bool[Tensor, "B T"] | None = None,
    rule: Literal["delta", "hebbian"] = "delta",
    donate: bool = False,
    backend: str = "auto",
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H N V"]]:
    r"""Retain, write, read, for every step of a segment (equations 3-5 of the design).

    $$M_t[i] = e^{g_t} M_{t-1}[i] \;(i \in w_t), \quad
      M_t \mathrel{+}= w_t \otimes \beta_t (v_t - M_t^\top w_t), \quad o_t = M_t^\top r_t$$

    A read sees its own step's write. Differentiable in every floating-point argument. Where a slot
    is named twice in one address its weights add up and it is retained once.

    Args:
        segment: what its steps write and read.
        slots: N.
        initial: the memory before the segment; empty if None.
        mask: True where the step is real; a step that is not writes nothing.
        reset: True empties the memory before that step, whether or not the step is real.
        rule: hebbian leaves out the correction $M_t^\top w_t$.
        donate: allow `initial` to be overwritten, so that time does not grow with N: without it
            the table is copied. Use only what is returned afterwards. A leaf that requires a
            gradient is copied all the same.
        backend: auto takes the compiled loop (native) for few rows or a few steps on a CPU where
            numba is installed, else the chunked form; reference is the plain loop.

    Returns:
        What was read, unspecified at masked steps, and the memory after the segment.

    Raises:
        ScanError: shapes or slot indices do not fit; inside `checked`, also values.
        MissingExtra: the native form is asked for and numba is not installed.

    >>> from sparsemeta.ops import Address
    >>> address = Address(torch.tensor([[[[2]]]]), torch.ones(1, 1, 1, 1))
    >>> value, rate = torch.tensor([[[[3.0, 4.0]]]]), torch.ones(1, 1, 1)
    >>> read, memory = scan(Segment(address, value, rate, None, address), slots=5)
    >>> read.tolist(), memory[0, 0, 2].tolist()
    ([[[[3.0, 4.0]]]], [3.0, 4.0])
    """
    if initial is None:
        batch, _, heads, width = segment.value.shape
        initial, donate = segment.value.new_zeros(batch, heads, slots, width), True
    _check(segment, slots, initial, mask, rule)
    form = _choose(backend, segment)
    if not donate or (initial.requires_grad and initial.is_leaf):  # a learned memory is kept
        initial = initial.clone(memory_format=torch.contiguous_format)
    return form(segment, initial, mask, reset, rule)


def _choose(name: str, segment: Segment) -> Form:
    if name == "auto":
        return next(row.function for row in BACKENDS.values() if row.usable(segment))
    if name not in BACKENDS:
        raise ScanError(f"backend is {name!r}; choose auto, {', '.join(BACKENDS)}")
    backend = BACKENDS[name]
    if backend.package:
        require_installed(backend.package, "fast")
    return backend.function


_checked: ContextVar[bool] = ContextVar("checked", default=False)


@contextmanager
def checked() -> Iterator[None]:
    """Inside this block `scan` also looks at the values that it is given.

    Shapes and slot indices are always checked. NaN, infinity, rates outside [0, 1] and retentions
    above 1 are not: looking costs a pass over every input.
    """
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


def _check(segment: Segment, slots: int, initial: Tensor, mask: Tensor | None, rule: str) -> None:
    """Raise `ScanError`, in the caller's terms."""
    write, value, rate, log_retention, read = segment
    batch, time, heads, _ = write.index.shape
    if time == 0:
        raise ScanError("the segment has no steps (T = 0)")
    expected = {
        "write.weight": (write.weight, write.index.shape),
        "read.weight": (read.weight, read.index.shape),
        "value": (value, (batch, time, heads, value.shape[-1])),
        "rate": (rate, (batch, time, heads)),
        "initial": (initial, (batch, heads, slots, value.shape[-1])),
    }
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ScanError(f"{name} has shape {tuple(tensor.shape)}, expected {tuple(shape)}")
        if tensor.dtype != value.dtype:
            raise ScanError(f"{name} is {tensor.dtype} but value is {value.dtype}; use one dtype")
    if rule not in ("delta", "hebbian"):
        raise ScanError(f"rule is {rule!r}; choose 'delta' or 'hebbian'")
    for name, address in (("write", write), ("read", read)):
        low, high = (int(bound) for bound in address.index.aminmax())
        if low < 0 or high >= slots:
            raise ScanError(
                f"{name}.index holds slots {low} to {high}, outside [0, {slots}): "
                "pass slots= as large as the addresses need"
            )
    if _checked.get():
        floats = {name: tensor for name, (tensor, _) in expected.items()}
        _check_values({**floats, "log_retention": log_retention}, mask)


def _check_values(floats: dict[str, Tensor | None], mask: Tensor | None) -> None:
    """Refuse values that would spoil a memory; what stands at masked steps does not matter."""
    for name, tensor in floats.items():
        if tensor is None:
            continue
        real = tensor if mask is None or name == "initial" else tensor[mask]
        wrong = real.isnan() if name == "log_retention" else ~real.isfinite()  # -inf forgets all
        if wrong.any():
            raise ScanError(
                f"{name} holds {int(wrong.sum())} values that are NaN or infinite: find where they "
                "come from; a memory that has taken them in has to be emptied"
            )
        if name == "rate" and not ((real >= 0) & (real <= 1)).all():
            raise ScanError("rate leaves [0, 1]: pass it through a sigmoid")
        if name == "log_retention" and (real > 0).any():
            raise ScanError("log_retention is above 0, so rows would grow: use a log-sigmoid")
