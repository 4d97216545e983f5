"""A cheaper loss over many words: the right one against some others, drawn anew each step."""

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import embedding, linear


class Negatives(NamedTuple):
    """Words that were drawn, and by what each stands for those that were not.

    Attributes:
        words: (C,) int64, each once, in rising order.
        log_weight: (C,) float32, the logarithm of one over the chance of being drawn.
    """

    words: Tensor
    log_weight: Tensor

    @classmethod
    def draw(cls, chances: Tensor) -> Self:
        """Draw each word (V,) by its own chance, on the CPU, whatever the device of `chances`."""
        drawn = torch.rand(len(chances)) < chances.cpu()
        words = drawn.nonzero()[:, 0].to(chances.device)
        return cls(words, -chances[words].log())

    def log_p(self, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        r"""An estimate of log p of targets, the sum over all other words by those drawn.

        $$\log p_t \approx s_t - \log\Big(e^{s_t} + \sum_{w \ne t} e^{s_w} / \pi_w\Big), \qquad
          s_w = h \cdot W_w$$

        The sum has the right expectation (Horvitz and Thompson 1952).

        Args:
            hidden: (B, T, D).
            weight: (V, D), of the output layer, W.
            targets: (B, T) int64, t.

        Returns:
            (B, T) float32.
        """
        size = targets.numel()
        rows = embedding(torch.cat([targets.flatten(), self.words]), weight)  # one scatter of rows
        right = (hidden.float() * rows[:size].view_as(hidden)).sum(-1)
        others = linear(hidden, rows[size:]).float() + self.log_weight
        others = others.masked_fill(self.words == targets[..., None], -torch.inf)
        return right - torch.logaddexp(right, others.logsumexp(-1))


def chances(counts: Tensor, number: int) -> Tensor:
    """Chances (V,) of being drawn for words that were counted (V,), of sum `number`.

    They go as the 0.75th power of the counts (Mikolov et al. 2013), up to 1: frequent words are
    always there.
    """
    share = counts.clamp(min=1).double() ** 0.75
    low, high = 0.0, 1 / share.min().item()
    for _ in range(60):
        middle = (low + high) / 2
        enough = (middle * share).clamp(max=1).sum() >= number
        low, high = (low, middle) if enough else (middle, high)
    return (high * share).clamp(max=1).float()
