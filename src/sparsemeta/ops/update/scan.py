"""`scan`: the one entry to the memory update. Checks its input, then runs a form of it."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparsemeta.ops.types import Segment
from sparsemeta.ops.update.backends import choose
from sparsemeta.ops.update.checks import check


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
        ScanError: shapes do not fit together or a slot index is outside [0, slots); inside
            `checked`, also values that no memory should be given.
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
    check(segment, slots, initial, mask, rule)
    form = choose(backend, segment)
    if not donate or (initial.requires_grad and initial.is_leaf):  # a learned memory is kept
        initial = initial.clone(memory_format=torch.contiguous_format)
    return form.function(segment, initial, mask, reset, rule)
