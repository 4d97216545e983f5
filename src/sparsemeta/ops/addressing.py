"""From logits over slots to an address: which slots, and with what weights (equation 1)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.errors import ScanError


def topk_address(
    logits: Float[Tensor, "*batch N"], active: int
) -> tuple[Int[Tensor, "*batch A"], Float[Tensor, "*batch A"]]:
    r"""The A best slots, weighted $w_i \propto e^{l_i}$ with $\|w\|_2 = 1$.

    Non-negative, and of unit norm so that a write at rate <= 1 cannot overshoot (design, 2).

    Args:
        logits: one score per slot.
        active: A, from 1 to N.

    Returns:
        Slot indices (int64), best first, and their weights (dtype of the logits).

    >>> index, weight = topk_address(torch.tensor([0.0, 5.0, 5.0, 1.0]), active=2)
    >>> sorted(index.tolist()), round(weight.square().sum().item(), 6)
    ([1, 2], 1.0)
    """
    _require_slots(active, logits.shape[-1])
    best, index = logits.topk(active, dim=-1)
    return index, _unit(best)


def product_address(
    first: Float[Tensor, "*batch S"], second: Float[Tensor, "*batch S"], active: int
) -> tuple[Int[Tensor, "*batch A"], Float[Tensor, "*batch A"]]:
    r"""The A best of $N = S^2$ slots, where slot $i S + j$ scores $l_i + l'_j$: exact top-A.

    Whatever is among the A best sums has its halves among the A best of each half, so A^2
    candidates suffice: O(S + A^2) for an address (Lample et al. 2019, section 3.1).

    Args:
        first: one score per left half-key.
        second: one score per right half-key.
        active: A, from 1 to N.

    Returns:
        Slot indices (int64), best first, and their weights as those of `topk_address`.

    >>> index, _ = product_address(torch.tensor([0.0, 9.0]), torch.tensor([5.0, 1.0]), active=2)
    >>> index.tolist()
    [2, 3]
    """
    side = first.shape[-1]
    _require_slots(active, side**2)
    count = min(active, side)
    left, i = first.topk(count, dim=-1)
    right, j = second.topk(count, dim=-1)
    best, pair = (left[..., :, None] + right[..., None, :]).flatten(-2).topk(active, dim=-1)
    return i.gather(-1, pair // count) * side + j.gather(-1, pair % count), _unit(best)


def dense_address(
    logits: Float[Tensor, "*batch N"],
) -> tuple[Int[Tensor, "*batch N"], Float[Tensor, "*batch N"]]:
    r"""Every slot, weighted $w = l / \|l\|_2$: the signed dense key of a delta-rule network.

    The control for `topk_address`: same interface, with A = N.

    Args:
        logits: one score per slot.

    Returns:
        Slot indices 0 to N-1 (int64) and their weights (dtype of the logits).
    """
    slots = torch.arange(logits.shape[-1], device=logits.device)
    return slots.expand(logits.shape), normalize(logits, dim=-1)


def _require_slots(active: int, slots: int) -> None:
    if not 1 <= active <= slots:
        raise ScanError(f"an address of {active} slots cannot be taken from {slots}")


def _unit(best: Tensor) -> Tensor:
    """The softmax of scores, best first, scaled to unit norm."""
    return normalize(torch.exp(best - best[..., :1].detach()), dim=-1)
