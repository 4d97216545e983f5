"""The slots whose keys fit or oppose a query the most, with weights of either sign; or all."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.ops.address.search import best_slots, require_slots, score, search
from sparsemeta.ops.types import Address


def signed_address(
    query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "H N K"], active: int
) -> Address:
    r"""The A slots whose scores $l = K q$ are largest in size, weighted $w = l / \|l\|_2$.

    Weights of either sign: what is learned of a context says the opposite of the opposite context,
    as with a dense key, of which these are the A largest entries.

    Args:
        query: one for each head and step.
        keys: one for each head and slot.
        active: A, from 1 to N.

    Returns:
        Slot indices (int64), largest first, and their weights.

    >>> keys = torch.tensor([[[0.0], [-4.0], [3.0], [1.0]]])
    >>> index, weight = signed_address(torch.ones(1, 1, 1), keys, active=2)
    >>> index.tolist(), weight.tolist()
    ([[[1, 2]]], [[[-0.800000011920929, 0.6000000238418579]]])
    """
    require_slots(active, keys.shape[1])
    index = search(query, keys, lambda part: best_slots((part @ keys.mT).abs(), active))
    return Address(index, normalize(score(query, keys[None], index), dim=-1))


def dense_address(query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "H N K"]) -> Address:
    r"""Every slot, weighted $w = l / \|l\|_2$: the signed dense key of a delta-rule network.

    The control for the others: same interface, with A = N.

    Args:
        query: one for each head and step.
        keys: one for each head and slot.

    Returns:
        Slot indices 0 to N-1 (int64) and their weights.
    """
    logits = query @ keys.mT
    slots = torch.arange(logits.shape[-1], device=logits.device)
    return Address(slots.expand(logits.shape), normalize(logits, dim=-1))
