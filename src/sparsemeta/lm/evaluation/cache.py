r"""The continuous neural cache: words that followed contexts like this one are more likely.

$$p_{cache}(w) \propto \sum_{i<t} 1[x_{i+1} = w] \exp(\theta \cos(h_t, h_i))$$

Grave, Joulin and Usunier (2016, arXiv 1612.04426, eq. 3), who compare contexts by their inner
product; with states of constant length, as an RMS norm makes them, that is the same.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.lm.reading import Learner


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
        """Mix the cache's distribution into the model's: log p (T, V) to log p (T, V)."""
        matched, tokens = self.match(hidden, targets, self.theta)
        words, column = tokens.unique(return_inverse=True)
        p_cache = matched.new_zeros(len(targets), len(words)).index_add_(1, column, matched)
        weight = self.weight * known_past(matched)
        mixed = log_p + torch.log1p(-weight)
        mixed[:, words] = torch.logaddexp(mixed[:, words], (weight * p_cache).log())
        return mixed

    def learn(self, logits: Tensor, hidden: Tensor, targets: Tensor) -> None:
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
        p = log_p.gather(1, targets[:, None]).double().exp()
        weights = torch.tensor(self._weights, dtype=p.dtype, device=p.device)
        for i, theta in enumerate(self._thetas):
            matched, tokens = self.match(hidden, targets, theta)
            p_cache = (matched * (tokens == targets[:, None])).sum(-1, keepdim=True)
            weight = weights * known_past(matched)
            mixed = torch.lerp(p.expand_as(weight), p_cache.to(p).expand_as(weight), weight)
            self._sums[i] -= mixed.log().sum(0).cpu()
        self._count += len(targets)
        return log_p


def known_past(matched: Tensor) -> Tensor:
    """(T, 1), 1 where the cache knows anything and 0 at the start of a stream."""
    return (matched.sum(-1, keepdim=True) > 0).to(matched.dtype)
