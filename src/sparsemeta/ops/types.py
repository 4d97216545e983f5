"""The words of the memory update: an `Address` is written or read, a `Segment` does all of it.

Axes, everywhere: B batch, T time, H heads, N slots per head, A active slots of an address (R where
it is read), V width of what a slot holds. A memory is a table (B, H, N, V).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

Function: Any = torch.autograd.Function
"""A base of what has a backward pass of its own; no type, as each takes other arguments."""


class Address(NamedTuple("Address", [("index", Tensor), ("weight", Tensor)])):
    r"""Some slots and their weights, equation (1): of a segment (B, T, H, A), of a step (B, H, A).

    Attributes:
        index: (.., A) int64 in [0, N); best first if searched for.
        weight: (.., A); written, keep $\beta_t \|w_t\|^2 < 2$: else the delta rule diverges.
    """

    __slots__ = ()

    def map(self, change: Callable[[Tensor], Tensor]) -> "Address":
        """Both tensors changed alike."""
        return Address(change(self.index), change(self.weight))


class Segment(NamedTuple):
    r"""What T steps do to a memory: each retains, writes, then reads.

    Attributes:
        write: slots written, and their weights $w_t$.
        value: what to associate with them, $v_t$.
        rate: write strength $\beta_t$ in [0, 1].
        log_retention: $g_t \le 0$, what is kept of the rows written; None keeps everything.
        read: slots read, and their weights $r_t$.
    """

    write: Address
    value: Float[Tensor, "B T H V"]
    rate: Float[Tensor, "B T H"]
    log_retention: Float[Tensor, "B T H"] | None
    read: Address
