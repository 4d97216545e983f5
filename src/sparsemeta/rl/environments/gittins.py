"""The Gittins index of a Bernoulli arm over a finite horizon."""

import torch
from torch import Tensor
from torch.nn.functional import pad

SAFE = 101  # payments of the safe arm, from 0 to 1, between which the index is interpolated


def gittins_indices(horizon: int) -> Tensor:
    r"""What a safe arm would have to pay per trial to be worth as much as an unknown one.

    With m trials left, a safe payment $\lambda$, and an arm that paid s times in n pulls,
    $p = (s + 1) / (n + 2)$,
    $$V_m(n, s) = \max\{m \lambda, \; p (1 + V_{m-1}(n + 1, s + 1)) + (1 - p) V_{m-1}(n + 1, s)\}$$
    and the index is the least $\lambda$ at which the first is the larger one. (Kaufmann 2018, On
    Bayesian index policies for sequential resource allocation; the horizon is finite.)

    Args:
        horizon: T.

    Returns:
        (T, T, T) float32 by m - 1, n and s; of use where s <= n <= T - m.
    """
    safe = torch.linspace(0, 1, SAFE)
    pulls, paid = torch.meshgrid(torch.arange(horizon), torch.arange(horizon), indexing="ij")
    p = ((paid + 1) / (pulls + 2)).clamp(max=1)[..., None]
    value = torch.zeros(horizon, horizon, SAFE)
    table = []
    for left in range(1, horizon + 1):
        after = pad(value, (0, 0, 0, 1, 0, 1))[1:]  # one pull more
        risk = p * (1 + after[:, 1:]) + (1 - p) * after[:, :-1]
        table.append(_root(safe, risk - left * safe))
        value = torch.maximum(left * safe, risk)
    return torch.stack(table)


def _root(safe: Tensor, gain: Tensor) -> Tensor:
    """Where a gain (..., SAFE) that falls with the safe payment is 0, linearly between points."""
    above = (gain > 0).sum(-1, keepdim=True).clamp(1, SAFE - 1)
    high, low = gain.gather(-1, above - 1), gain.gather(-1, above)
    return (safe[above - 1] + high / (high - low) / (SAFE - 1)).squeeze(-1).clamp(0, 1)
