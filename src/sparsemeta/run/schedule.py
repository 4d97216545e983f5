"""The learning rate's course."""

from __future__ import annotations

import math


def cosine(step: int, steps: int, warmup: int, floor: float = 0.0) -> float:
    """The share of its highest value that a learning rate has at a step.

    Linear warm-up, then half a cosine (Loshchilov and Hutter 2017).

    Args:
        step: counted from 0.
        steps: of the whole run.
        warmup: steps over which it rises.
        floor: its share at the end.
    """
    if step < warmup:
        return (step + 1) / warmup
    fall = min(1.0, (step - warmup) / max(1, steps - warmup))
    return floor + (1 - floor) * (1 + math.cos(math.pi * fall)) / 2
