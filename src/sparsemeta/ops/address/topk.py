"""The slots whose keys fit a query best."""

from jaxtyping import Float
from torch import Tensor

from sparsemeta.ops.address.search import best_slots, require_slots, score, search, unit
from sparsemeta.ops.types import Address


def topk_address(
    query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "H N K"], active: int
) -> Address:
    r"""The A best slots by score $l = K q$, weighted $w_i \propto e^{l_i}$ with $\|w\|_2 = 1$.

    Non-negative, and of unit norm so that a write at rate <= 1 cannot overshoot (design, 2).

    Args:
        query: one for each head and step.
        keys: one for each head and slot.
        active: A, from 1 to N.

    Returns:
        Slot indices (int64), best first, and their weights.

    >>> import torch
    >>> keys = torch.tensor([[[0.0], [5.0], [5.0], [1.0]]])
    >>> index, weight = topk_address(torch.ones(1, 1, 1), keys, active=2)
    >>> sorted(index.flatten().tolist()), round(weight.square().sum().item(), 6)
    ([1, 2], 1.0)
    """
    require_slots(active, keys.shape[1])
    index = search(query, keys, lambda part: best_slots(part @ keys.mT, active))
    return Address(index, unit(score(query, keys[None], index)))
