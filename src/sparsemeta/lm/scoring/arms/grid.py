"""The grids that settings are chosen from, and what was found on them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsemeta.config import to_dict
from sparsemeta.lm.scoring.arms.arm import Memory
from sparsemeta.lm.scoring.arms.cache import NeuralCache, known_past
from sparsemeta.lm.scoring.arms.settings import CacheSettings, DynamicSettings

WEIGHTS = (0.05, 0.1, 0.2, 0.3, 0.4)
THETAS = (4.0, 8.0, 16.0, 32.0, 64.0)
RATES = (1e-4, 3e-4, 1e-3, 2e-3)
"""For segments of `PER` tokens; in proportion for others, as the authors advise."""
DECAYS = (1e-3, 5e-3, 2e-2)
PER = 64


@dataclass(frozen=True)
class Trial:
    """One point of a grid."""

    settings: CacheSettings | DynamicSettings
    nats: float
    """Per token of the validation text."""


@dataclass(frozen=True)
class Tuned:
    """A grid, and what was chosen from it."""

    memory: Memory
    """The arm's policy for the memory: each has a choice of its own."""
    trials: tuple[Trial, ...]

    @property
    def part(self) -> str:
        """What was tuned: `cache` or `dynamic`."""
        return "cache" if isinstance(self.trials[0].settings, CacheSettings) else "dynamic"

    @property
    def axes(self) -> tuple[str, str]:
        """The settings that the grid varies."""
        return ("theta", "weight") if self.part == "cache" else ("rate", "decay")

    @property
    def best(self) -> Trial:
        """The fewest nats; what is not a number is never best."""
        return min(self.trials, key=lambda t: t.nats if np.isfinite(t.nats) else np.inf)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        trials = [
            to_dict(t.settings) | {"nats": t.nats if np.isfinite(t.nats) else None}
            for t in self.trials
        ]
        chosen = to_dict(self.best.settings)
        return {"part": self.part, "memory": self.memory, "chosen": chosen, "trials": trials}


def dynamic_points(settings: DynamicSettings) -> list[DynamicSettings]:
    """The grid of dynamic evaluation, for the segment of these settings."""
    return [
        replace(settings, rate=rate * settings.segment / PER, decay=decay)
        for rate, decay in itertools.product(RATES, DECAYS)
    ]


class GridCache(NeuralCache):
    """Scores every point of the grid, and leaves the model's distribution as it is."""

    def __init__(self, settings: CacheSettings):
        super().__init__(settings)
        self._sums = torch.zeros(len(THETAS), len(WEIGHTS), dtype=torch.float64)
        self._count = 0

    def mix(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """Take the targets' probabilities into the sums."""
        p = log_p.gather(1, targets[:, None]).double().exp()
        weights = torch.tensor(WEIGHTS, dtype=p.dtype, device=p.device)
        for i, theta in enumerate(THETAS):
            matched, tokens = self.match(hidden, targets, theta)
            p_cache = (matched * (tokens == targets[:, None])).sum(-1, keepdim=True)
            weight = weights * known_past(matched)
            mixed = torch.lerp(p.expand_as(weight), p_cache.to(p).expand_as(weight), weight)
            self._sums[i] -= mixed.log().sum(0).cpu()
        self._count += len(targets)
        return log_p

    def trials(self) -> list[Trial]:
        """What was found, once all has been read."""
        points = itertools.product(THETAS, WEIGHTS)
        return [
            Trial(replace(self.settings, theta=theta, weight=weight), nats)
            for (theta, weight), nats in zip(
                points, (self._sums / max(1, self._count)).flatten().tolist(), strict=True
            )
        ]
