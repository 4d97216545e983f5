r"""The fast gate in plain equations: the ground truth of the compiled form.

Heads are asked from the shortest context to the longest. Each replaces what stands so far with a
probability that is in part a fast weight, chosen by how much evidence the head has (its set s_h):

$$q_0 = p_{model}, q_h = (1 - e_h) q_{h-1} + e_h p_h, e_h = \sigma(b_h[s_h] + \theta_h[s_h] + z_h)$$

with b and z trained, theta learned while reading. So q_H is a mixture, sums to one, and is the
model where no head knows the context. After every token, theta moves along the gradient of
log q_H(y): with r the share that each expert had in it,

$$\theta_h[s_h] \mathrel{+}= \eta (r_h - e_h \sum_{j \le h} r_j)$$

which is what exponentiated gradient is for the choice between speaking and backing off. Escape by
evidence is PPM's (Cleary and Witten 1984; as learned counts, Shkarin 2002).
"""

from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 8
"""Counts and numbers of outcomes are told apart up to 2^6, each doubling being a level."""
SETS = LEVELS * LEVELS
LIMIT = 8.0
"""Of the logit of e: no head is ever believed, or disbelieved, altogether. A gradient passes as if
there were no limit: what has gone too far can come back."""


class Evidence(NamedTuple):
    """What each head knows of a context, (H,): 0 where it abstains.

    Attributes:
        mass: of its slot.
        distinct: how many outcomes that holds.
    """

    mass: Tensor
    distinct: Tensor

    @property
    def chosen(self) -> Tensor:
        """(H,) int64, the set of weights of each head."""
        return _level(self.mass) * LEVELS + _level(self.distinct)


def speaks(evidence: Evidence, start: Tensor, theta: Tensor, slow: Tensor) -> Tensor:
    """E (H,), how far each head replaces what stands; start, theta (H, SETS) and slow (H,)."""
    place = torch.arange(len(slow)), evidence.chosen
    logit = start[place] + theta[place] + slow
    logit = logit + (logit.clamp(-LIMIT, LIMIT) - logit).detach()
    return torch.where(evidence.mass > 0, torch.sigmoid(logit), 0)


def weights(e: Tensor) -> Tensor:
    """W (1 + H,), of the model and the heads in the mixture."""
    backed = torch.cat([(1 - e).flip(0).cumprod(0).flip(0), e.new_ones(1)])
    return backed * torch.cat([e.new_ones(1), e])


def learn(
    evidence: Evidence,
    e: Tensor,
    given: Tensor,
    theta: Tensor,
    moved: Tensor,
    start: Tensor,
    rates: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """What the gate knows when a token has come.

    Args:
        evidence: of the heads.
        e: (H,), how far each spoke.
        given: (1 + H,), the probabilities that the model and the heads gave to the token.
        theta: (H, SETS).
        moved: (H, SETS), how often each was moved.
        start: (H, SETS), the trained part.
        rates: the rate is the first / sqrt(times moved), but never less than the second.

    Returns:
        theta and moved.
    """
    theta, moved, known = theta.clone(), moved.clone(), evidence.mass > 0
    place = torch.arange(len(e)), evidence.chosen
    part = weights(e) * given
    share = part / part.sum()
    gradient = share[1:] - e * share.cumsum(0)[1:]
    moved[place] += known
    rate = (rates[0] * moved[place].clamp(min=1).to(theta) ** -0.5).clamp(min=rates[1])
    logit = (start[place] + theta[place] + rate * gradient).clamp(-LIMIT, LIMIT)
    theta[place] = torch.where(known, logit - start[place], theta[place])
    return theta, moved


def _level(x: Tensor) -> Tensor:
    """0 for none, then 1 + floor(log2) of at least 1, up to the last level."""
    return ((x.clamp(min=1).log2().floor() + 1) * (x > 0)).clamp(max=LEVELS - 1).long()
