r"""The fast gate in plain equations: the ground truth of the compiled form.

Heads are asked from the shortest context to the longest. Each replaces what stands so far with a
probability, the logit of which is a sum of fast weights, chosen by what is known of the context:

$$q_0 = p_{model}, \quad q_h = (1 - e_h) q_{h-1} + e_h p_h, \quad
  e_h = \sigma(b_h[s_1] + \sum_i \theta_h[s_i] + z_h)$$

where s_1 is how much evidence the head has, s_2 how many heads know the context, and s_3 and s_4
are the last two tokens; b and z are trained, theta is learned while reading. So q_H is a mixture,
sums to one, and is the model where no head knows the context. After every token, theta moves along
the gradient of log q_H(y): with r the share that each expert had in it,

$$\theta_h[s_i] \mathrel{+}= \eta_i (r_h - e_h \sum_{j \le h} r_j)$$

which is what exponentiated gradient is for the choice between speaking and backing off. Escape by
evidence is PPM's (Cleary and Witten 1984; as learned counts, Shkarin 2002); sets of weights chosen
by contexts, and added, are PAQ's (Mahoney 2005).
"""

from typing import NamedTuple

import torch
from torch import Tensor

LEVELS = 8
"""Counts and numbers of outcomes are told apart up to 2^6, each doubling being a level."""
EVIDENCE = LEVELS * LEVELS
"""Sets of weights chosen by evidence, the first of all; they alone have a trained part."""
DEPTHS = 32
"""Sets chosen by how many heads know the context."""
RECENT = (1024, 256)
"""Sets chosen by the last token, and by the one before it: by their numbers modulo these."""
SETS = EVIDENCE + DEPTHS + sum(RECENT)
GENTLY = 0.25
"""So much of the rate moves weights that do not go by evidence: they are corrections to it."""
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
        """(H,) int64, the set of weights of each head that goes by its evidence."""
        return _level(self.mass) * LEVELS + _level(self.distinct)

    def sets(self, recent: tuple[int, int]) -> Tensor:
        """(H, 4) int64, all sets of each head; -1 is no token."""
        depth = EVIDENCE + min(int((self.mass > 0).sum()), DEPTHS - 1)
        first = EVIDENCE + DEPTHS
        last, before = (token % many for token, many in zip(recent, RECENT, strict=True))
        shared = torch.tensor([depth, first + last, first + RECENT[0] + before])
        return torch.cat([self.chosen[:, None], shared.expand(len(self.mass), -1)], -1)


def speaks(
    evidence: Evidence, start: Tensor, theta: Tensor, slow: Tensor, recent: tuple[int, int]
) -> Tensor:
    """E (H,), how far each head replaces what stands.

    Args:
        evidence: of the heads.
        start: (H, EVIDENCE).
        theta: (H, SETS).
        slow: (H,).
        recent: the last token and the one before it, -1 where there is none.
    """
    head, sets = torch.arange(len(slow)), evidence.sets(recent)
    logit = start[head, sets[:, 0]] + theta[head[:, None], sets].sum(-1) + slow
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
    recent: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """What the gate knows when a token has come.

    Args:
        evidence: of the heads.
        e: (H,), how far each spoke.
        given: (1 + H,), the probabilities that the model and the heads gave to the token.
        theta: (H, SETS).
        moved: (H, SETS), how often each was moved.
        start: (H, EVIDENCE), the trained part.
        rates: the rate is the first / sqrt(times moved), but never less than the second.
        recent: the last token before it and the one before that.

    Returns:
        theta and moved.
    """
    theta, moved, known = theta.clone(), moved.clone(), (evidence.mass > 0)[:, None]
    place = torch.arange(len(e))[:, None], evidence.sets(recent)
    begun = torch.nn.functional.pad(start, (0, theta.shape[1] - EVIDENCE))[place]
    part = weights(e) * given
    share = part / part.sum()
    gradient = share[1:] - e * share.cumsum(0)[1:]
    moved[place] += known
    rate = (rates[0] * moved[place].clamp(min=1).to(theta) ** -0.5).clamp(min=rates[1])
    rate[:, 1:] *= GENTLY
    logit = (begun + theta[place] + rate * gradient[:, None]).clamp(-LIMIT, LIMIT)
    theta[place] = torch.where(known, logit - begun, theta[place])
    return theta, moved


def _level(x: Tensor) -> Tensor:
    """0 for none, then 1 + floor(log2) of at least 1, up to the last level."""
    return ((x.clamp(min=1).log2().floor() + 1) * (x > 0)).clamp(max=LEVELS - 1).long()
