"""How text is written: settings, no torch."""

from __future__ import annotations

from dataclasses import dataclass

from sparsemeta.errors import require


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen, and how many are."""

    tokens: int = 200
    """Most tokens to write; a text that ends sooner is shorter."""
    temperature: float = 1.0
    """Above 1 is bolder, below 1 safer."""
    top_k: int | None = None
    """Choose among this many of the likeliest tokens."""
    top_p: float | None = None
    """Choose among the likeliest tokens that together have this probability."""
    greedy: bool = False
    """Always take the likeliest token."""
    seed: int | None = None
    """The same seed writes the same text; None writes a new one each time."""

    def __post_init__(self) -> None:
        require(self.tokens >= 0, "tokens must not be negative")
        require(self.temperature > 0, "temperature must be positive")
        require(self.top_k is None or self.top_k >= 1, "top_k must be at least 1")
        require(self.top_p is None or 0 < self.top_p <= 1, "top_p must lie in (0, 1]")
