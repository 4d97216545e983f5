"""A cheaper loss over many words: the right one against some others, drawn anew each step."""

from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear

from sparsemeta.ops import fine


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

    def log_p(self, hidden: Tensor, head: nn.Linear, targets: Tensor) -> Tensor:
        r"""An estimate of log p of targets, the sum over all other words by those drawn.

        $$\log p_t \approx s_t - \log\Big(e^{s_t} + \sum_{w \ne t} e^{s_w} / \pi_w\Big), \qquad
          s_w = W_w \cdot h + b_w$$

        The sum has the right expectation (Horvitz and Thompson 1952).

        Args:
            hidden: (B, T, D).
            head: the output layer, with weights W (V, D), and b (V,) if it has biases.
            targets: (B, T) int64, t.

        Returns:
            (B, T) float32.
        """
        size = targets.numel()
        asked = torch.cat([targets.flatten(), self.words])
        rows = embedding(asked, head.weight)  # at once, so that their gradients are scattered once
        right = (fine(hidden) * rows[:size].view_as(hidden)).sum(-1)
        others = fine(linear(hidden, rows[size:])) + self.log_weight
        if head.bias is not None:
            bias = head.bias[asked]
            right, others = right + bias[:size].view_as(right), others + bias[size:]
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
