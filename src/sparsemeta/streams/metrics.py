"""What scores are: accuracy or error, which way is better, and how they are read."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from torch import Tensor


@dataclass(frozen=True)
class Metric:
    """How predictions are scored, step by step, and how scores are compared and shown.

    Args:
        name: as an axis of a plot is called.
        unit: as the figures of a table are called.
        each: predictions (B, T, ..) and targets like them to scores of single steps, (B, T).
        more_is_better: whether the highest score is best.
        factor: from a score to what a table shows.
        digits: of that, after the point.
        scale: of an axis of a plot, linear or log.
        near: a score this close to the best one is as good; None where no such margin is known.
    """

    name: str
    unit: str
    each: Callable[[Tensor, Tensor], Tensor]
    more_is_better: bool = True
    factor: float = 1.0
    digits: int = 3
    scale: str = "linear"
    near: float | None = None

    def best(self, scores: Sequence[float]) -> int:
        """The place of the best score, the first of equals; NaN is never best."""
        sign = 1 if self.more_is_better else -1
        ranks = [-math.inf if math.isnan(score) else sign * score for score in scores]
        return ranks.index(max(ranks))

    def show(self, scores: Sequence[float], *, sign: bool = False) -> str:
        """Mean and standard deviation, which one score has none of; `sign` writes a plus too."""
        text = f"{self.factor * mean(scores):{'+' if sign else ''}.{self.digits}f}"
        if len(scores) == 1:
            return text
        return f"{text} ± {self.factor * stdev(scores):.{self.digits}f}"


ACCURACY = Metric(
    name="accuracy",
    unit="accuracy in percent",
    each=lambda predictions, target: (predictions == target).float(),
    factor=100,
    digits=1,
    near=0.05,
)
SQUARED_ERROR = Metric(
    name="mean squared error",
    unit="mean squared error",
    each=lambda predictions, target: (predictions - target).square().mean(-1),
    more_is_better=False,
    scale="log",
)
