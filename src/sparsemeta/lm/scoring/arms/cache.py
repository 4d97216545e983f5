r"""The continuous neural cache: words that followed contexts like this one are more likely.

$$p_{cache}(w) \propto \sum_{i<t} 1[x_{i+1} = w] \exp(\theta \cos(h_t, h_i))$$

Grave, Joulin and Usunier (2016, arXiv 1612.04426, eq. 3), who compare contexts by their inner
product; with states of constant length, as an RMS norm makes them, that is the same.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize

from sparsemeta.lm.scoring.arms.settings import CacheSettings


class NeuralCache:
    """The last contexts, and the token that followed each.

    Args:
        settings: its size, weight and sharpness.
    """

    def __init__(self, settings: CacheSettings):
        self.settings = settings
        self.keys: Tensor | None = None  # (n, D) float32, unit length
        self.tokens: Tensor | None = None  # (n,) int64

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return sum(part.nbytes for part in (self.keys, self.tokens) if part is not None)

    def match(self, hidden: Tensor, targets: Tensor, theta: float) -> tuple[Tensor, Tensor]:
        """How much each token of the past counts, at each step of a segment.

        A pair (h_i, x_{i+1}) counts from the step at which x_{i+1} is read: those of the segment
        itself strictly below the diagonal.

        Args:
            hidden: (T, D), the contexts.
            targets: (T,) int64, the token that follows each.
            theta: see `CacheSettings`.

        Returns:
            Weights (T, n + T) that sum to one, or to zero where nothing came before, and the
            tokens (n + T,) that they belong to.
        """
        hidden = normalize(hidden.float(), dim=-1)
        keys, tokens = self._with(hidden, targets)
        past, time = len(tokens) - len(targets), len(targets)
        place = torch.arange(len(tokens), device=tokens.device)
        now = past + torch.arange(time, device=tokens.device)[:, None]
        known = (place < now) & (place >= now - self.settings.size)
        scores = (theta * hidden @ keys.T).masked_fill(~known, -math.inf)
        # A row without a past is all NaN.
        return scores.softmax(-1).where(known, 0.0), tokens

    def mix(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """Mix the cache's distribution into the model's: log p (T, V) to log p (T, V)."""
        matched, tokens = self.match(hidden, targets, self.settings.theta)
        words, column = tokens.unique(return_inverse=True)
        p_cache = matched.new_zeros(len(targets), len(words)).index_add_(1, column, matched)
        weight = self.settings.weight * known_past(matched)
        mixed = log_p + torch.log1p(-weight)
        mixed[:, words] = torch.logaddexp(mixed[:, words], (weight * p_cache).log())
        return mixed

    def remember(self, hidden: Tensor, targets: Tensor) -> None:
        """Take in the pairs of a segment, once it has been scored."""
        keys, tokens = self._with(normalize(hidden.float(), dim=-1), targets)
        size = self.settings.size
        self.keys, self.tokens = keys[-size:].clone(), tokens[-size:].clone()

    def _with(self, keys: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        if self.keys is None or self.tokens is None:
            return keys, tokens
        return torch.cat([self.keys, keys]), torch.cat([self.tokens, tokens])


def known_past(matched: Tensor) -> Tensor:
    """(T, 1), 1 where the cache knows anything and 0 at the start of a stream."""
    return (matched.sum(-1, keepdim=True) > 0).to(matched.dtype)
