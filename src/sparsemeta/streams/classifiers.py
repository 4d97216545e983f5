"""Classifiers to compare with that need no training.

They are called like a `StreamLearner`, with inputs (B, T, D) and labels for feedback, and give
logits (B, T, outputs) and their state.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot


class SoftmaxSGD(nn.Module):
    """A linear softmax classifier that takes one step of gradient descent at every lesson.

    Args:
        outputs: the number of labels.
        rate: the step's size.
    """

    def __init__(self, outputs: int, rate: float):
        super().__init__()
        self.outputs, self.rate = outputs, rate

    @torch.no_grad()
    def forward(
        self, inputs: Tensor, feedback: Tensor, taught: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Go through a segment; the state is the weights, (B, outputs, D + 1) with the bias."""
        x = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)
        label = one_hot(feedback, self.outputs).to(x.dtype)
        blank = x.new_zeros(len(x), self.outputs, x.shape[-1])
        weight = blank if state is None else state.clone()
        logits = []
        for now, truth, told in zip(x.unbind(1), label.unbind(1), taught.unbind(1), strict=True):
            logits.append((weight @ now[..., None]).squeeze(-1))
            error = (truth - logits[-1].softmax(-1)) * told[:, None]
            weight += self.rate * error[..., None] * now[:, None]
        return torch.stack(logits, dim=1), weight


class LDAState(NamedTuple):
    """What B streams have shown: the means and counts of C classes, and their covariance."""

    mean: Tensor
    """(B, C, D)."""
    seen: Tensor
    """(B, C), how often each class was."""
    covariance: Tensor
    """(B, D, D), within classes."""


class StreamingLDA(nn.Module):
    r"""Linear discriminant analysis with running means and covariance (Hayes and Kanan 2020).

    After t lessons, the next one, x of class y, gives
    $$\Sigma \leftarrow \frac{t}{t+1} \Sigma + \frac{t}{(t+1)^2} (x - \mu_y)(x - \mu_y)^\top$$
    and then a new $\mu_y$. Classified is by $\Lambda = ((1 - \epsilon) \Sigma + \epsilon I)^{-1}$.

    Args:
        outputs: the number of labels.
        shrinkage: $\epsilon$.
    """

    def __init__(self, outputs: int, shrinkage: float = 1e-4):
        super().__init__()
        self.outputs, self.shrinkage = outputs, shrinkage

    @torch.no_grad()
    def forward(
        self, inputs: Tensor, feedback: Tensor, taught: Tensor, state: LDAState | None = None
    ) -> tuple[Tensor, LDAState]:
        """Go through a segment; a class that was never shown has a logit of minus infinity."""
        if state is None:
            batch, _, width = inputs.shape
            sizes = (self.outputs, width), (self.outputs,), (width, width)
            state = LDAState(*(inputs.new_zeros(batch, *size) for size in sizes))
        now = state
        weight, bias = self._readout(now)
        steps = zip(inputs.unbind(1), feedback.unbind(1), taught.unbind(1), strict=True)
        logits = []
        for x, label, told in steps:
            logits.append((weight @ x[..., None]).squeeze(-1) + bias)
            if told.any():
                now = self._learned(now, x, label, told.to(x.dtype))
                weight, bias = self._readout(now)
        return torch.stack(logits, dim=1), now

    @staticmethod
    def _learned(state: LDAState, x: Tensor, label: Tensor, told: Tensor) -> LDAState:
        """The state after a lesson: x (B, D), label (B,), and 1 where it was revealed, (B,)."""
        row = torch.arange(len(x), device=x.device)
        mean, seen, covariance = state
        lessons = seen.sum(1)
        off = x - mean[row, label]
        spread = off[..., None] * off[:, None] * (lessons / (lessons + 1))[:, None, None]
        covariance = covariance + (spread - covariance) * (told / (lessons + 1))[:, None, None]
        seen = seen.index_put((row, label), told, accumulate=True)
        share = told / seen[row, label].clamp(min=1)
        mean = mean.index_put((row, label), off * share[:, None], accumulate=True)
        return LDAState(mean, seen, covariance)

    def _readout(self, state: LDAState) -> tuple[Tensor, Tensor]:
        """The weights (B, C, D) and biases (B, C) of the linear classifier."""
        spread = (1 - self.shrinkage) * state.covariance
        spread.diagonal(dim1=1, dim2=2).add_(self.shrinkage)
        weight = torch.linalg.solve(spread, state.mean.mT).mT
        bias = -(weight * state.mean).sum(-1) / 2
        return weight, bias.masked_fill(state.seen == 0, -torch.inf)
