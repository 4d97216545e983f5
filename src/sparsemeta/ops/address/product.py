"""The best pairs of half-keys: an exact search that costs the root of the number of slots."""

from jaxtyping import Float
from torch import Tensor

from sparsemeta.ops.address.search import require_slots, score, search, unit
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.types import Address


def product_address(
    query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "2 H S K/2"], active: int
) -> Address:
    r"""The A best of $N = S^2$ slots, where slot $i S + j$ scores $l_i + l'_j$: exact top-A.

    Whatever is among the A best sums has its halves among the A best of each half: O(S + A^2) for
    an address (Lample et al. 2019, section 3.1).

    Args:
        query: one for each head and step; its halves meet one half-key each.
        keys: the left half-keys, then the right.
        active: A, from 1 to N.

    Returns:
        Slot indices (int64), best first, and their weights as those of `topk_address`.

    >>> import torch
    >>> keys = torch.tensor([[[[0.0], [9.0]]], [[[5.0], [1.0]]]])
    >>> index, _ = product_address(torch.ones(1, 1, 2), keys, active=2)
    >>> index.tolist()
    [[[2, 3]]]
    """
    side = keys.shape[2]
    require_slots(active, side**2)

    def best(part: Tensor) -> Tensor:
        left, right = part.chunk(2, dim=-1)
        return _best_pairs(left @ keys[0].mT, right @ keys[1].mT, active)

    index = search(query, keys[0], best)
    return Address(index, unit(score(query, keys, index)))


def _best_pairs(first: Tensor, second: Tensor, active: int) -> Tensor:
    """The A best sums of scores (..., S): their pairs i S + j (..., A), best first."""
    if usable(first):
        from sparsemeta.ops.address import top

        return top.best_pairs(first, second, active)
    side = first.shape[-1]
    count = min(active, side)
    left, i = first.topk(count, dim=-1)
    right, j = second.topk(count, dim=-1)
    pair = (left[..., :, None] + right[..., None, :]).flatten(-2).topk(active, dim=-1).indices
    return i.gather(-1, pair // count) * side + j.gather(-1, pair % count)
