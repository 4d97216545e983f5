"""The settings of the two ways to adapt that need no memory; no torch.

A field's docstring is its help on the command line.
"""

from __future__ import annotations

from dataclasses import dataclass

from sparsemeta.errors import require


@dataclass(frozen=True)
class CacheSettings:
    """The continuous neural cache of Grave, Joulin and Usunier (2016, arXiv 1612.04426)."""

    size: int = 2000
    """Tokens that the cache looks back on."""
    weight: float = 0.1
    """Share of the probability that the cache gives (lambda in the paper)."""
    theta: float = 16.0
    """How sharply the cache prefers the past contexts most like the present one; contexts are
    compared by their cosine, so that a value means the same for every model."""

    def __post_init__(self) -> None:
        require(self.size >= 1, "cache.size must be at least 1")
        require(0 <= self.weight < 1, "cache.weight must lie in [0, 1)")
        require(self.theta >= 0, "cache.theta must not be negative")


@dataclass(frozen=True)
class DynamicSettings:
    """Dynamic evaluation by the RMS rule of Krause et al. (2017, arXiv 1709.07432)."""

    segment: int = 64
    """Tokens between two updates of the weights; 5 in the paper's word-level models."""
    rate: float = 5e-4
    """Learning rate (eta in the paper); what is best grows with the segment."""
    decay: float = 5e-3
    """How strongly a weight is drawn back to where training left it (lambda in the paper)."""
    samples: int = 512
    """Segments of training text that the gradient's mean squares are taken over."""

    def __post_init__(self) -> None:
        require(self.segment >= 1, "dynamic.segment must be at least 1")
        require(self.rate >= 0, "dynamic.rate must not be negative")
        require(0 <= self.decay <= 1, "dynamic.decay must lie in [0, 1]")
        require(self.samples >= 1, "dynamic.samples must be at least 1")
