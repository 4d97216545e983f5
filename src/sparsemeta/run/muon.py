"""Muon: steps of matrices whose singular values are all alike, and AdamW for all else."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from sparsemeta.run.engine import share, whole

MOMENTUM = 0.95


class Muon(AdamW):
    r"""AdamW, and for matrices, the parameters of groups that have `parts`, Muon.

    $$B \leftarrow \mu B + (1 - \mu) G, \qquad
      W \leftarrow (1 - \eta \lambda) W
        - \eta \sqrt{\max(1, m / n)}\; \mathrm{orth}(\mu B + (1 - \mu) G)$$

    (Jordan et al. 2024) for the gradient G of W (m x n); all singular values of orth(.) are near 1.
    A parameter is `parts` matrices of equal height, one below the other, each made orthogonal by
    itself: queries, keys and values are three. Torch's own Muon takes neither parts nor weights
    that are shared among processes; here each of those works out the step of the whole matrix.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step from the gradients; those of the matrices are used up."""
        for group in self.param_groups:
            for weight in group["params"] if "parts" in group else ():
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["step"] = torch.zeros(())  # which AdamW asks of every state
                    state["momentum"] = torch.zeros_like(weight)
                state["step"] += 1
                state["momentum"].lerp_(weight.grad, 1 - MOMENTUM)
                ahead = whole(weight.grad.lerp(state["momentum"], MOMENTUM))
                parts = ahead.unflatten(0, (group["parts"], -1))
                change = share(orthogonal(parts).flatten(0, 1).to(weight.dtype), weight)
                height, width = parts.shape[1:]
                rate = group["lr"] * math.sqrt(max(1.0, height / width))
                weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(change, alpha=rate)
                weight.grad = None  # AdamW, next, leaves alone what has none
        return super().step(closure)


def orthogonal(matrices: Tensor) -> Tensor:
    """Matrices (..., m, n) with their singular values brought near 1.

    By five rounds of a quintic Newton-Schulz iteration in bfloat16, as exact as a step needs; its
    coefficients are those of Jordan et al. 2024.
    """
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x.mT if tall else x
