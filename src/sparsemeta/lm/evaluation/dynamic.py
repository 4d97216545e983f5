r"""Dynamic evaluation: gradient descent on what has just been scored, drawn back to the start.

$$\theta \leftarrow \theta + \lambda \min(D, 1/\lambda) (\theta_0 - \theta)
  - \eta \frac{g}{M + \epsilon}, \qquad M = \sqrt{\mathrm{mean}\, g^2},
  \quad D = M / \mathrm{mean}(M)$$

The RMS rule with decay of Krause et al. (2017, arXiv 1709.07432): the mean squares are taken over
training text, for every weight, before any of the text to be scored is read. Their code has
epsilon = 2e-5 and takes the mean over all of the training text. Here it is a part of the text, in
which rare tokens may be missing, so that their M is nearly zero; epsilon is half the mean of M
weighted by M itself, the usual size of a gradient where there is one, however many weights hardly
ever have any.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sparsemeta.lm.reading import Learner, Model

EPSILON = 0.5
"""Of the rule, as a share of the mean of M weighted by M."""


class Gradients(Learner):
    """What learns from the gradient of a segment's loss.

    Args:
        model: whose weights.
        segment: tokens of a full segment; a shorter one gives a proportionally smaller gradient.
    """

    gradients = True

    def __init__(self, model: Model, segment: int):
        self.weights: list[Any] = [w for w in model.parameters() if w.requires_grad]
        self.segment = self._full = segment

    def gradient(self, logits: Tensor, targets: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of a segment's mean loss, None for weights that had no part in it."""
        loss = cross_entropy(logits.float(), targets, reduction="sum") / self._full
        return torch.autograd.grad(loss, self.weights, allow_unused=True)


class MeanSquares(Gradients):
    """Measures the root mean square of every weight's gradient, and changes no weight."""

    def __init__(self, model: Model, segment: int):
        super().__init__(model, segment)
        self._sums = [torch.zeros_like(weight) for weight in self.weights]
        self._count = 0

    def learn(self, logits: Tensor, hidden: Tensor, targets: Tensor) -> None:
        """Take a segment's gradient into the mean."""
        for total, gradient in zip(self._sums, self.gradient(logits, targets), strict=True):
            if gradient is not None:
                total.addcmul_(gradient, gradient)
        self._count += 1

    def root(self) -> list[Tensor]:
        """M, a tensor for each of the model's trained weights; zero where no gradient came."""
        return [(total / max(1, self._count)).sqrt() for total in self._sums]


class RMSUpdate(Gradients):
    """Changes a model's weights after each segment, by the RMS rule; `undone` puts them back.

    `scale` is M, a tensor for each trained weight, as `MeanSquares.root` returns it; `rate` is eta,
    the learning rate, and `decay` lambda, how strongly a weight is drawn back.
    """

    def __init__(self, model: Model, scale: list[Tensor], segment: int, rate: float, decay: float):
        super().__init__(model, segment)
        self._start = [weight.detach().clone() for weight in self.weights]
        tiny = torch.finfo(torch.float32).tiny  # a model without gradients stays finite
        count = sum(m.numel() for m in scale)
        total = sum(m.sum(dtype=torch.float64).item() for m in scale) + tiny
        squares = sum(m.square().sum(dtype=torch.float64).item() for m in scale)
        mean, usual = total / count, squares / total + tiny
        self._pull = [(decay * m / mean).clamp(max=1) for m in scale]
        self._step = [rate / (m + EPSILON * usual) for m in scale]
        self._changed = [False] * len(scale)

    def learn(self, logits: Tensor, hidden: Tensor, targets: Tensor) -> None:
        """Update the weights once."""
        found = self.gradient(logits, targets)
        with torch.no_grad():
            for i, gradient in enumerate(found):
                if gradient is not None:
                    weight = self.weights[i]
                    pull = self._pull[i] * (self._start[i] - weight)
                    weight.add_(pull).addcmul_(self._step[i], gradient, value=-1)
                    self.nbytes += 0 if self._changed[i] else weight.nbytes
                    self._changed[i] = True

    @contextmanager
    def undone(self) -> Iterator[Self]:
        """Put all weights back, bit for bit, at the end of the block, however it ends."""
        try:
            yield self
        finally:
            with torch.no_grad():
                for weight, start in zip(self.weights, self._start, strict=True):
                    weight.copy_(start)
