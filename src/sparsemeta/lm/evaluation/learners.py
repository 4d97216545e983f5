r"""The mathematics of adapting while reading.

The continuous neural cache: words that followed contexts like this one are more likely.

$$p_{cache}(w) \propto \sum_{i<t} 1[x_{i+1} = w] \exp(\theta \cos(h_t, h_i))$$

Grave, Joulin and Usunier (2016, arXiv 1612.04426, eq. 3), who compare contexts by their inner
product; with states of constant length, as an RMS norm makes them, that is the same.

Dynamic evaluation: gradient descent on what has just been scored, drawn back to the start.

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

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.lm.reading import Learner, Model

EPSILON = 0.5
"""Of the rule, as a share of the mean of M weighted by M."""


class NeuralCache(Learner):
    """The last contexts, `size` of them, and the token that followed each; weight is lambda."""

    def __init__(self, size: int, weight: float = 0.0, theta: float = 0.0):
        self.size, self.weight, self.theta = size, weight, theta
        self.keys: Tensor | None = None  # (n, D) float32, unit length
        self.tokens: Tensor | None = None  # (n,) int64

    def match(self, hidden: Tensor, targets: Tensor, theta: float) -> tuple[Tensor, Tensor]:
        """How much each token of the past counts, at each step of a segment.

        A pair (h_i, x_{i+1}) counts from the step at which x_{i+1} is read: those of the segment
        itself strictly below the diagonal. Returns weights (T, n + T) that sum to one, or to zero
        where nothing came before, and the tokens (n + T,) that they belong to.
        """
        hidden = normalize(hidden.float(), dim=-1)
        keys, tokens = self._with(hidden, targets)
        past, time = len(tokens) - len(targets), len(targets)
        place = torch.arange(len(tokens), device=tokens.device)
        now = past + torch.arange(time, device=tokens.device)[:, None]
        known = (place < now) & (place >= now - self.size)
        scores = (theta * hidden @ keys.T).masked_fill(~known, -math.inf)
        # A row without a past is all NaN.
        return scores.softmax(-1).where(known, 0.0), tokens

    def mix(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """Mix what the cache says of the targets with what the model does: log p (T,)."""
        matched, tokens = self.match(hidden, targets, self.theta)
        p_cache = (matched * (tokens == targets[:, None])).sum(-1)
        weight = self.weight * known_past(matched)
        return torch.logaddexp(log_p + torch.log1p(-weight), (weight * p_cache).log())

    def learn(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> None:
        """Take in the pairs of a segment, once it has been scored."""
        keys, tokens = self._with(normalize(hidden.float(), dim=-1), targets)
        self.keys, self.tokens = keys[-self.size :].clone(), tokens[-self.size :].clone()
        self.nbytes = self.keys.nbytes + self.tokens.nbytes

    def _with(self, keys: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is None or self.tokens is None:
            return keys, tokens
        return torch.cat([self.keys, keys]), torch.cat([self.tokens, tokens])


class CacheSweep(NeuralCache):
    """Scores every point of a grid of theta and weight; the model's distribution stays."""

    def __init__(self, size: int, theta: Sequence[float], weight: Sequence[float]):
        super().__init__(size)
        self._thetas, self._weights = theta, weight
        self._sums = torch.zeros(len(theta), len(weight), dtype=torch.float64)
        self._count = 0

    @property
    def nats(self) -> list[float]:
        """The mean per token of each point, once all has been read; weights vary fastest."""
        return (self._sums / max(1, self._count)).flatten().tolist()

    def mix(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """Take the targets' probabilities into the sums."""
        p = log_p[:, None].double().exp()
        weights = torch.tensor(self._weights, dtype=p.dtype, device=p.device)
        for i, theta in enumerate(self._thetas):
            matched, tokens = self.match(hidden, targets, theta)
            p_cache = (matched * (tokens == targets[:, None])).sum(-1, keepdim=True)
            weight = weights * known_past(matched)[:, None]
            mixed = torch.lerp(p.expand_as(weight), p_cache.to(p).expand_as(weight), weight)
            self._sums[i] -= mixed.log().sum(0).cpu()
        self._count += len(targets)
        return log_p


def known_past(matched: Tensor) -> Tensor:
    """(T,), 1 where the cache knows anything and 0 at the start of a stream."""
    return (matched.sum(-1) > 0).to(matched.dtype)


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

    def gradient(self, log_p: Tensor) -> tuple[Tensor | None, ...]:
        """The gradient of a segment's mean loss, None for weights that had no part in it."""
        loss = -log_p.sum() / self._full
        return torch.autograd.grad(loss, self.weights, allow_unused=True)


class MeanSquares(Gradients):
    """Measures the root mean square of every weight's gradient, and changes no weight."""

    def __init__(self, model: Model, segment: int):
        super().__init__(model, segment)
        self._sums = [torch.zeros_like(weight) for weight in self.weights]
        self._count = 0

    def learn(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> None:
        """Take a segment's gradient into the mean."""
        for total, gradient in zip(self._sums, self.gradient(log_p), strict=True):
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

    def learn(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> None:
        """Update the weights once."""
        found = self.gradient(log_p)
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
