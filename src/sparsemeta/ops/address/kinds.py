"""The kinds of addresses: a new one is a function, a row of the table, and a name in the config.

Which slots are best is found without a gradient; their scores are then computed once more, with
one. So what training saves and differentiates is the A chosen keys, not the scores of all N.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.errors import ScanError
from sparsemeta.ops.compiled import usable
from sparsemeta.ops.types import Address

AT_ONCE = 2**18
"""Scores searched at once: they stay in a cache, and memory is what the addresses take."""


def topk_address(
    query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "H N K"], active: int
) -> Address:
    r"""The A best slots by score $l = K q$, weighted $w_i \propto e^{l_i}$ with $\|w\|_2 = 1$.

    Non-negative, and of unit norm so that a write at rate <= 1 cannot overshoot (design, 2). A is
    from 1 to N; slots come best first.

    >>> keys = torch.tensor([[[0.0], [5.0], [5.0], [1.0]]])
    >>> index, weight = topk_address(torch.ones(1, 1, 1), keys, active=2)
    >>> sorted(index.flatten().tolist()), round(weight.square().sum().item(), 6)
    ([1, 2], 1.0)
    """
    index = _search(query, keys, active, lambda part: _best_slots(part @ keys.mT, active))
    return Address(index, _unit(_score(query, keys[None], index)))


def product_address(
    query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "2 H S K/2"], active: int
) -> Address:
    r"""The A best of $N = S^2$ slots, where slot $i S + j$ scores $l_i + l'_j$: exact top-A.

    Whatever is among the A best sums has its halves among the A best of each half: O(S + A^2) for
    an address (Lample et al. 2019, section 3.1). The halves of a query meet a left and a right
    half-key; the result is that of `topk_address`.

    >>> keys = torch.tensor([[[[0.0], [9.0]]], [[[5.0], [1.0]]]])
    >>> index, _ = product_address(torch.ones(1, 1, 2), keys, active=2)
    >>> index.tolist()
    [[[2, 3]]]
    """

    def best(part: Tensor) -> Tensor:
        left, right = part.chunk(2, dim=-1)
        return _best_pairs(left @ keys[0].mT, right @ keys[1].mT, active)

    index = _search(query, keys[0], active, best, parts=2)
    return Address(index, _unit(_score(query, keys, index)))


def signed_address(
    query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "H N K"], active: int
) -> Address:
    r"""The A slots whose scores $l = K q$ are largest in size, weighted $w = l / \|l\|_2$.

    Weights of either sign: what is learned of a context says the opposite of the opposite context,
    as with a dense key, of which these are the A largest entries. Arguments and result are those of
    `topk_address`; largest first.

    >>> keys = torch.tensor([[[0.0], [-4.0], [3.0], [1.0]]])
    >>> index, weight = signed_address(torch.ones(1, 1, 1), keys, active=2)
    >>> index.tolist(), weight.tolist()
    ([[[1, 2]]], [[[-0.800000011920929, 0.6000000238418579]]])
    """
    index = _search(query, keys, active, lambda part: _best_slots((part @ keys.mT).abs(), active))
    return Address(index, normalize(_score(query, keys[None], index), dim=-1))


def dense_address(query: Float[Tensor, "*batch H T K"], keys: Float[Tensor, "H N K"]) -> Address:
    r"""Every slot, weighted $w = l / \|l\|_2$: the signed dense key of a delta-rule network.

    The control for the others: arguments and result are those of `topk_address`, with A = N and
    slots in their order.
    """
    logits = query @ keys.mT
    slots = torch.arange(logits.shape[-1], device=logits.device)
    return Address(slots.expand(logits.shape), normalize(logits, dim=-1))


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


def nearest(
    query: Float[Tensor, "B T H K"],
    keys: Float[Tensor, "P H S K/P"],
    temperature: Float[Tensor, " H"],
    active: int,
) -> Address:
    """Address the A slots whose keys have the highest cosines with a query, in one compiled loop.

    For a few contexts, as when a token is read: torch's operations would each take longer to begin
    than to compute. Nothing is kept for a gradient. Only where tensors are `usable`.

    Keys of S^P slots have P parts, 1 or 2; cosines are multiplied by the temperature. The address
    (B, T, H, A) is that of `topk_address` or `product_address`, never coarser than float32.
    """
    from sparsemeta.ops.address import native

    return Address(*native.nearest(query, keys, temperature, active))


def _search(
    query: Tensor, keys: Tensor, active: int, best: Callable[[Tensor], Tensor], parts: int = 1
) -> Tensor:
    """The slots that `best` finds, for some steps of a query at a time; by keys (H, S, K)."""
    slots = keys.shape[1] ** parts
    if not 1 <= active <= slots:
        raise ScanError(f"an address of {active} slots cannot be taken from {slots}")
    steps = max(1, AT_ONCE // (query[..., 0, 0].numel() * keys.shape[1]))
    with torch.no_grad():
        return torch.cat([best(part) for part in query.split(steps, dim=-2)], dim=-2)


def _best_slots(scores: Tensor, active: int) -> Tensor:
    """The A best of scores (..., N), best first."""
    if usable(scores):
        from sparsemeta.ops.address import native

        return native.best_slots(scores, active)
    return scores.topk(active, dim=-1).indices


def _best_pairs(first: Tensor, second: Tensor, active: int) -> Tensor:
    """The A best sums of scores (..., S): their pairs i S + j (..., A), best first."""
    if usable(first):
        from sparsemeta.ops.address import native

        return native.best_pairs(first, second, active)
    side = first.shape[-1]
    count = min(active, side)
    left, i = first.topk(count, dim=-1)
    right, j = second.topk(count, dim=-1)
    pair = (left[..., :, None] + right[..., None, :]).flatten(-2).topk(active, dim=-1).indices
    return i.gather(-1, pair // count) * side + j.gather(-1, pair % count)


def _score(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    """The scores (..., H, T, A) of an address by keys (P, H, S, K/P), S^P = N, a key in P parts."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    query, keys = query.to(dtype), keys.to(dtype)
    if usable(query):
        from sparsemeta.ops.address import native

        return native.chosen_scores(query, keys, index)
    parts, heads, side, _ = keys.shape
    head = torch.arange(heads, device=keys.device)[:, None, None]
    digits = [index // side ** (parts - 1 - part) % side for part in range(parts)]
    chosen = torch.cat([keys[part, head, digit] for part, digit in enumerate(digits)], dim=-1)
    return (query[..., None, :] * chosen).sum(-1)


def _unit(scores: Tensor) -> Tensor:
    """The softmax of scores, scaled to unit norm: the root of the softmax of their doubles."""
    return torch.exp(torch.log_softmax(2 * scores, dim=-1) / 2)
