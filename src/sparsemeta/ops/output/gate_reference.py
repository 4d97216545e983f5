r"""The fast gate as a plain loop: the ground truth of the compiled form.

Heads are asked from the shortest context to the longest. Each replaces what stands so far with a
probability that is a fast weight, chosen by how much evidence the head has (its set s_h):

$$q_0 = p_{model}, q_h = (1 - e_h) q_{h-1} + e_h p_h, e_h = \sigma(\theta_h[s_h] + z_h)$$

So q_H is a mixture, sums to one, and is the model where no head knows the context. After every
token, theta moves along the gradient of log q_H(y): with r the share that each expert had in it,

$$\theta_h[s_h] \mathrel{+}= \eta (r_h - e_h \sum_{j \le h} r_j)$$

which is what exponentiated gradient is for the choice between speaking and backing off. Escape by
evidence is PPM's (Cleary and Witten 1984; as learned counts, Shkarin 2002).
"""

import torch
from torch import Tensor

LEVELS = 8
"""Counts and numbers of outcomes are told apart up to 2^6, each doubling being a level."""
SETS = LEVELS * LEVELS
LIMIT = 8.0
"""Of theta and of the logit of e: no head is ever believed, or disbelieved, altogether."""


def evidence(mass: Tensor, distinct: Tensor) -> Tensor:
    """The set of weights (T, H) for slots with such a mass and so many outcomes."""
    return _level(mass) * LEVELS + _level(distinct)


def gate_reference(
    log_p: Tensor,
    p: Tensor,
    mass: Tensor,
    distinct: Tensor,
    slow: Tensor,
    theta: Tensor,
    count: Tensor,
    first: float,
    least: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Mix the probabilities that the model and H heads gave to the tokens of a segment.

    Args:
        log_p: (T,), by the model.
        p: (T, H), by the heads, the shortest context first.
        mass: (T, H), 0 where a head abstains.
        distinct: (T, H), how many outcomes the head knows.
        slow: (T, H), z, the part of the gate that is trained.
        theta: (H, SETS), the part that is learned while reading.
        count: (H, SETS), how often each was moved.
        first: the rate is first / sqrt(times moved) ...
        least: ... but never less than this.

    Returns:
        log q (T,); the weights (T, 1 + H) of the model and the heads; the gradient (T, 1 + H) of
        log q by log_p and by slow; theta and count after.
    """
    theta, count = theta.clone(), count.clone()
    sets, time, heads = evidence(mass, distinct), *p.shape
    mixed, weights, gradients = [], [], []
    for t in range(time):
        known, place = mass[t] > 0, (torch.arange(heads), sets[t])
        speak = torch.where(known, torch.sigmoid((theta[place] + slow[t]).clamp(-LIMIT, LIMIT)), 0)
        backed = torch.cat([(1 - speak).flip(0).cumprod(0).flip(0), speak.new_ones(1)])
        weight = backed * torch.cat([speak.new_ones(1), speak])
        given = weight * torch.cat([log_p[t : t + 1].exp(), p[t]])
        share = given / given.sum()
        gradient = torch.cat([share[:1], share[1:] - speak * share.cumsum(0)[1:]])
        count[place] += known
        rate = (first * count[place].clamp(min=1).to(theta) ** -0.5).clamp(min=least)
        theta[place] = (theta[place] + rate * gradient[1:] * known).clamp(-LIMIT, LIMIT)
        mixed.append(given.sum().log())
        weights.append(weight)
        gradients.append(gradient)
    return torch.stack(mixed), torch.stack(weights), torch.stack(gradients), theta, count


def _level(x: Tensor) -> Tensor:
    """0 for none, then 1 + floor(log2) of at least 1, up to the last level."""
    return ((x.clamp(min=1).log2().floor() + 1) * (x > 0)).clamp(max=LEVELS - 1).long()
