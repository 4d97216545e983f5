"""A cache of hidden states, one token at a time and without a gradient: for CPUs, with numba.

What torch does for a segment in a few products of matrices takes it some forty small operations for
one token.
"""

import torch
from torch import Tensor

from sparsemeta.ops.compiled import spread
from sparsemeta.ops.output.tables_types import Recalled

Ring = tuple[Tensor, Tensor, Tensor]
"""Keys (B, W, K), tokens (B, W) and how many were written (B,): the n-th is at n modulo W."""


def recall_one(
    ring: Ring,
    queries: Tensor,
    key: Tensor,
    came: Tensor,
    written: Tensor,
    target: Tensor | None,
) -> Recalled:
    """Take in one token, and say what the cache says before and after; the ring is written.

    Args:
        ring: what is held.
        queries: (B, 2, K), the states before and after the token, times tau.
        key: (B, K), the state before it.
        came: (B, 1) int64, the token.
        written: (B, 1) bool, whether it is kept.
        target: (B, 1) int64, the token to be scored; None asks for the shares of all.
    """
    from sparsemeta.ops.output import cache_loops

    batch, size = ring[1].shape
    held = torch.empty(batch, 2, dtype=torch.int64)
    said = queries.new_zeros(batch, 1)
    expected = said.clone() if target is not None else said[:, :0]
    share = queries.new_zeros(batch, size if target is None else 0)
    aimed = came if target is None else target
    given = (queries.contiguous(), key.contiguous(), came, written, aimed)
    spread(cache_loops.recall, batch, (ring, given, (held, said, expected, share)))
    return Recalled(held, said, expected, share[:, None][:, : int(target is None)], ring[1])
