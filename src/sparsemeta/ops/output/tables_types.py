"""What the loops of a table memory speak of: what is set, what is learned, and what came.

Axes: B batch, T time, V tokens, H heads, R rows; SETS of the gate's weights; P look-ups, one for
each slot that a head reads: of a learned context several, and these are the first L.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from sparsemeta.ops.output.heads import BYTES, Heads
from sparsemeta.ops.types import Address


@dataclass(frozen=True)
class Rules:
    """What of a table memory is set, and not learned.

    Attributes:
        heads: its contexts.
        capacity: rows of a stream at most.
        first: the gate's rate is first / sqrt(times moved) ...
        least: ... but never less than this.
    """

    heads: Heads
    capacity: int
    first: float
    least: float

    @cached_property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As the loop takes them.

        Of each exact context, whether it is of bytes, and of how many; log keep (H,); and of each
        look-up (P,), its head, log keep, longer and shorter, which are look-ups too.
        """
        heads, log_keep = self.heads, self.heads.keep.log()
        exact = heads.exact
        head = torch.arange(len(exact)).repeat_interleave(heads.slots)
        first = heads.slots.cumsum(0) - heads.slots
        links = (torch.where(x < 0, x, first[x])[head] for x in (heads.longer, heads.shorter))
        of_bytes = heads.kind[exact] == BYTES
        parts = (of_bytes, heads.order[exact], log_keep, head, log_keep[head], *links)
        return tuple(x.numpy() for x in parts)

    @property
    def head(self) -> np.ndarray:
        """(P,) int64, the head of each look-up."""
        return self.arrays[3]

    @cached_property
    def limits(self) -> np.ndarray:
        """The capacity and the rates."""
        return np.array([self.capacity, self.first, self.least], np.float64)


class Tables(NamedTuple):
    """What B streams have learned; see `tables_loops` for the first four and the last.

    Streams may share what they learn: then all but `recent` are of M memories, each of the B / M
    streams that come one after the other, and at each call these read in turn.

    Attributes:
        key: (B, R) int64.
        weight: (B, R), floats.
        rows: (B, R, COLUMNS) int32.
        used: (B, 2) int64.
        recent: (B, n) int64, the last tokens read, newest last; -1 where there are none.
        theta: (B, H, SETS), floats: what the gate has learned.
        moved: (B, H, SETS) int32, how often each was moved.
        bucket: (B, M) int32; None is built anew.
    """

    key: Tensor
    weight: Tensor
    rows: Tensor
    used: Tensor
    recent: Tensor
    theta: Tensor
    moved: Tensor
    bucket: Tensor | None


class Memory(NamedTuple):
    """The memory of B streams.

    Attributes:
        rules: what is set.
        spelling: (V, n) int32, the last bytes of each token, newest last; -1 where it has fewer.
        tables: what was learned.
    """

    rules: Rules
    spelling: Tensor
    tables: Tables


class Recalled(NamedTuple):
    """What a cache of C hidden states says, which is the first head if there is one.

    Attributes:
        held: (B, 1 + T) int64, how many states it knew before the first step and after each.
        came: (B, T), the probability that it had given to the token that came.
        target: (B, T or 0), that of the token to be scored.
        share: (B, S or 0, C), of each state in its prediction after the last S steps.
        token: (B, C) int64, what had followed the state.
    """

    held: Tensor
    came: Tensor
    target: Tensor
    share: Tensor
    token: Tensor

    def cpu(self) -> Self:
        """The same in host memory."""
        return self._make(x.cpu() for x in self)


class Came(NamedTuple):
    """The tokens of a segment, and what the model had made of them.

    Attributes:
        token: (B, T) int64, the token read at each step, as `check_tokens` has found it.
        log_p: (B, T), the model's log-probability of it; NaN where it predicted nothing.
        mask: (B, T) bool, True where the step is real; others do nothing. None: all are.
        reset: (B, T) bool, True empties the stream's memory before the step. None: none does.
        revealed: (B, T) bool, False where the token is a context and nothing else: it is not
            learned. None: all are.
        address: (B, 1 + T, L), slots and shares of the learned contexts before the first step and
            after each; slots of -1 where there was none. None: there are no such heads.
        recalled: what the cache says. None: there is none.
    """

    token: Tensor
    log_p: Tensor
    mask: Tensor | None
    reset: Tensor | None
    revealed: Tensor | None = None
    address: Address | None = None
    recalled: Recalled | None = None


class Gate(NamedTuple):
    """The trained part of the gate.

    Attributes:
        start: (H, EVIDENCE), logits of speaking by a head's evidence.
        slow: (B, T, H), added to them for the token after each step.
        before: (B, H), for the token that comes first.
    """

    start: Tensor
    slow: Tensor
    before: Tensor
