"""`scan`: the one entry to the memory update. Checks its input, then picks a form."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparsemeta.errors import ScanError, require_installed
from sparsemeta.ops.chunked import scan_chunked
from sparsemeta.ops.compact import compact, put, take
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.reference import scan_reference

Backend = Literal["auto", "reference", "chunked", "native"]

_checked: ContextVar[bool] = ContextVar("checked", default=False)

FEW = 32
"""Up to this many rows a step (A + R) the compiled loop beats matrix products on a CPU."""
SHORT = 4
"""Up to this many steps it does whatever the number of rows."""


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


def scan(
    write_index: Int[Tensor, "B T H A"],
    write_weight: Float[Tensor, "B T H A"],
    value: Float[Tensor, "B T H V"],
    rate: Float[Tensor, "B T H"],
    log_retention: Float[Tensor, "B T H"] | None,
    read_index: Int[Tensor, "B T H R"],
    read_weight: Float[Tensor, "B T H R"],
    *,
    slots: int,
    initial: Float[Tensor, "B H N V"] | None = None,
    mask: Bool[Tensor, "B T"] | None = None,
    reset: Bool[Tensor, "B T"] | None = None,
    rule: Literal["delta", "hebbian"] = "delta",
    chunk: int = 64,
    donate: bool = False,
    backend: Backend = "auto",
) -> tuple[Float[Tensor, "B T H V"], Float[Tensor, "B H N V"]]:
    r"""Retain, write, read, for every step of a segment (equations 3-5 of the design).

    $$M_t[i] = e^{g_t} M_{t-1}[i] \;(i \in w_t), \quad
      M_t \mathrel{+}= w_t \otimes \beta_t (v_t - M_t^\top w_t), \quad o_t = M_t^\top r_t$$

    A read sees its own step's write. Differentiable in every floating-point argument. Where a slot
    is named twice in one address its weights add up and it is retained once.

    Args:
        write_index: slots written, int64 in [0, slots).
        write_weight: their weights $w_t$; keep $\beta_t \|w_t\|^2 < 2$ or the delta rule diverges.
        value: what to associate with the address, $v_t$.
        rate: write strength $\beta_t$ in [0, 1].
        log_retention: $g_t \le 0$, or None to keep everything.
        read_index: slots read, int64 in [0, slots).
        read_weight: their weights $r_t$.
        slots: N.
        initial: the memory before the segment; empty if None.
        mask: True where the step is real; a step that is not writes nothing.
        reset: True empties the memory before that step, whether or not the step is real.
        rule: hebbian leaves out the correction $M_t^\top w_t$.
        chunk: steps to a chunk of the chunked form.
        donate: allow `initial` to be overwritten, so that time does not grow with N: without it
            the table is copied. Use only what is returned afterwards. A leaf that requires a
            gradient is copied all the same.
        backend: auto takes the compiled loop (native) for few rows or a few steps on a CPU where
            numba is installed, else the chunked form; reference is the plain loop.

    Returns:
        What was read, unspecified at masked steps, and the memory after the segment.

    Raises:
        ScanError: shapes do not fit together or a slot index is outside [0, slots); inside
            `checked`, also values that no memory should be given.
        MissingExtra: the native form is asked for and numba is not installed.
    """
    batch, time, heads, active = write_index.shape
    if initial is None:
        initial = value.new_zeros(batch, heads, slots, value.shape[-1])
    _check(write_index, write_weight, value, rate, read_index, read_weight, slots, initial, rule)
    if _checked.get():
        floats = {"write_weight": write_weight, "value": value, "rate": rate, "initial": initial}
        _check_values(floats | {"read_weight": read_weight}, log_retention, mask)
    if backend == "auto":
        looped = active + read_index.shape[3] <= FEW or time <= SHORT
        backend = "native" if looped and usable(value) else "chunked"
    elif backend == "native":
        require_installed("numba", "fast")
    if backend == "reference":
        zeros, everywhere = torch.zeros_like(rate), torch.ones_like(rate[..., 0], dtype=torch.bool)
        return scan_reference(
            write_index,
            write_weight,
            value,
            rate,
            zeros if log_retention is None else log_retention,
            read_index,
            read_weight,
            initial,
            everywhere if mask is None else mask,
            ~everywhere if reset is None else reset,
            rule,
        )

    if mask is not None:  # a step that writes at rate 0 and keeps everything leaves no trace
        real = mask[..., None]
        write_weight, value, read_weight = (
            torch.where(real[..., None], x, 0) for x in (write_weight, value, read_weight)
        )
        rate = torch.where(real, rate, 0)
        log_retention = None if log_retention is None else torch.where(real, log_retention, 0)
    if reset is not None and not reset.any():
        reset = None
    if initial.requires_grad and initial.is_leaf:
        donate = False  # a learned memory is kept
    rows, table = None, initial
    few = slots <= time * (active + read_index.shape[3])
    if reset is not None or (backend == "chunked" and not few):
        rows = compact(write_index, read_index, reset, slots)
        write_index, read_index = rows.write_index, rows.read_index
        table = torch.where(rows.opened[..., None], 0, take(initial, rows.slot))
    elif not donate:
        table = initial.clone(memory_format=torch.contiguous_format)
    args = (write_index, write_weight, value, rate, log_retention, read_index, read_weight, table)
    if backend == "native":
        from sparsemeta.ops.native import scan_native

        read, table = scan_native(*args, rule)
    else:
        with torch.autocast(value.device.type, enabled=False):  # a memory in bf16 would drift
            read, table = scan_chunked(*args, rule, chunk)
    if rows is None:
        return read, table
    if reset is not None:
        initial = torch.where(reset.any(1)[:, None, None, None], 0, initial)
    elif not donate:
        initial = initial.clone()
    return read, put(initial, rows, table)


def _check(
    write_index: Tensor,
    write_weight: Tensor,
    value: Tensor,
    rate: Tensor,
    read_index: Tensor,
    read_weight: Tensor,
    slots: int,
    initial: Tensor,
    rule: str,
) -> None:
    """Refuse what no backend could compute, in the caller's terms."""
    batch, time, heads, _ = write_index.shape
    if time == 0:
        raise ScanError("the segment has no steps (T = 0)")
    expected = {
        "write_weight": (write_weight, write_index.shape),
        "read_weight": (read_weight, read_index.shape),
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
    for name, index in (("write_index", write_index), ("read_index", read_index)):
        low, high = (int(bound) for bound in index.aminmax())
        if low < 0 or high >= slots:
            raise ScanError(
                f"{name} holds slots {low} to {high}, outside [0, {slots}): "
                "pass slots= as large as the addresses need"
            )


def _check_values(
    floats: dict[str, Tensor], log_retention: Tensor | None, mask: Tensor | None
) -> None:
    """Refuse values that would spoil a memory; what stands at masked steps does not matter."""
    if log_retention is not None:
        floats = floats | {"log_retention": log_retention}
    for name, tensor in floats.items():
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
