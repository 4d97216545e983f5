"""The kinds of addresses, as a table: a new one is a row, a function, and a name in the config."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from sparsemeta.ops.address.product import product_address
from sparsemeta.ops.address.signed import dense_address, signed_address
from sparsemeta.ops.address.topk import topk_address
from sparsemeta.ops.types import Address


class Kind(NamedTuple):
    """One kind of address.

    Attributes:
        address: from queries (B, H, T, K), keys and A to addresses (B, H, T, A).
        parts: P; a slot is named by P keys, each one of S, where S^P = N.
        softmax: whether its weights are a softmax of the best scores: then it has a usage loss, and
            `nearest` can take it.
    """

    address: Callable[[Tensor, Tensor, int], Address]
    parts: int = 1
    softmax: bool = False

    def keys(self, heads: int, slots: int, width: int) -> tuple[int, ...]:
        """The shape of its keys: (H, N, K), or (P, H, S, K/P) in parts."""
        if self.parts == 1:
            return heads, slots, width
        return self.parts, heads, round(slots ** (1 / self.parts)), width // self.parts


ADDRESSINGS = {
    "topk": Kind(topk_address, softmax=True),
    "product": Kind(product_address, parts=2, softmax=True),
    "signed": Kind(signed_address),
    "dense": Kind(lambda query, keys, _active: dense_address(query, keys)),
}
"""By name, as `memory.addressing` has it."""
