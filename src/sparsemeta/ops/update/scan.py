"""`scan`: the one entry to the memory update. Checks its input, then runs a form of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparsemeta.errors import ScanError
from sparsemeta.ops.types import Segment
from sparsemeta.ops.update.backends import BACKENDS, choose


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
            numba is installed, kernels (triton) on a GPU where Triton is, else the chunked form;
            reference is the plain loop.

    Returns:
        What was read, unspecified at masked steps, and the memory after the segment; both in the
        dtype of the memory, which may be finer than that of the segment.

    Raises:
        ScanError: shapes or slot indices do not fit; inside `checked`, also values.
        MissingExtra: a form is asked for and what it needs is not installed.

    >>> from sparsemeta.ops import Address
    >>> address = Address(torch.tensor([[[[2]]]]), torch.ones(1, 1, 1, 1))
    >>> value, rate = torch.tensor([[[[3.0, 4.0]]]]), torch.ones(1, 1, 1)
    >>> read, memory = scan(Segment(address, value, rate, None, address), slots=5)
    >>> read.tolist(), memory[0, 0, 2].tolist()
    ([[[[3.0, 4.0]]]], [3.0, 4.0])
    """
    if initial is None:
        batch, _, heads, width = segment.value.shape
        # Never coarser than float32, however coarse the values: a memory in bf16 drifts.
        dtype = torch.promote_types(segment.value.dtype, torch.float32)
        empty = segment.value.new_zeros(batch, heads, slots, width, dtype=dtype)
        initial, donate = empty, True
    _check(segment, slots, initial, mask, rule)
    form = BACKENDS[choose(backend, segment)].function
    if not donate or (initial.requires_grad and initial.is_leaf):  # a learned memory is kept
        initial = initial.clone(memory_format=torch.contiguous_format)
    return form(segment, initial, mask, reset, rule)


_checked: ContextVar[bool] = ContextVar("checked", default=False)


@contextmanager
def checked() -> Iterator[None]:
    """Inside this block `scan` also looks at the values that it is given.

    Shapes are always checked, and slot indices on a CPU; elsewhere one would have to wait for them.
    NaN, infinity, rates outside [0, 1] and retentions above 1 are not: looking costs a pass over
    every input.
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
        fine = torch.promote_types(tensor.dtype, torch.float32)
        if initial.dtype not in (tensor.dtype, fine):
            raise ScanError(
                f"{name} is {tensor.dtype} but the memory is {initial.dtype}; use one dtype"
            )
    if rule not in ("delta", "hebbian"):
        raise ScanError(f"rule is {rule!r}; choose 'delta' or 'hebbian'")
    if torch.compiler.is_compiling() or not (value.is_cpu or _checked.get()):
        return
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
