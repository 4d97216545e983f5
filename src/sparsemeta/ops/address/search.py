"""What the kinds of addresses share: finding the best slots, and weighing them.

Which slots are best is found without a gradient; their scores are then computed once more, with
one. So what training saves and differentiates is the A chosen keys, not the scores of all N.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from sparsemeta.errors import ScanError
from sparsemeta.ops.compiled import usable

AT_ONCE = 2**18
"""Scores searched at once: they stay in a cache, and memory is what the addresses take."""


def require_slots(active: int, slots: int) -> None:
    """Raise `ScanError` unless there are A slots of N to take."""
    if not 1 <= active <= slots:
        raise ScanError(f"an address of {active} slots cannot be taken from {slots}")


def search(query: Tensor, keys: Tensor, best: Callable[[Tensor], Tensor]) -> Tensor:
    """The slots that `best` finds, for some steps of a query at a time; by keys (H, S, K)."""
    steps = max(1, AT_ONCE // (query[..., 0, 0].numel() * keys.shape[1]))
    with torch.no_grad():
        return torch.cat([best(part) for part in query.split(steps, dim=-2)], dim=-2)


def best_slots(scores: Tensor, active: int) -> Tensor:
    """The A best of scores (..., N), best first."""
    if usable(scores):
        from sparsemeta.ops.address import top

        return top.best_slots(scores, active)
    return scores.topk(active, dim=-1).indices


def score(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    """The scores (..., H, T, A) of an address by keys (P, H, S, K/P), S^P = N, a key in P parts."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    query, keys = query.to(dtype), keys.to(dtype)
    if usable(query):
        from sparsemeta.ops.address.scores import chosen_scores

        return chosen_scores(query, keys, index)
    parts, heads, side, _ = keys.shape
    head = torch.arange(heads, device=keys.device)[:, None, None]
    digits = [index // side ** (parts - 1 - part) % side for part in range(parts)]
    chosen = torch.cat([keys[part, head, digit] for part, digit in enumerate(digits)], dim=-1)
    return (query[..., None, :] * chosen).sum(-1)


def unit(scores: Tensor) -> Tensor:
    """The softmax of scores, scaled to unit norm: the root of the softmax of their doubles."""
    return torch.exp(torch.log_softmax(2 * scores, dim=-1) / 2)
