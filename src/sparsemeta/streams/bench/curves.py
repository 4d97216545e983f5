"""Scores of single steps, by what was taught before them."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from sparsemeta.streams.stream import Stream, age, exposures

LESSONS = 10
"""After a switch, that the curve of recovery shows."""
MIN_STEPS = 20
"""Steps that a point of a curve is at least the mean of."""

Point = tuple[float | None, float]
"""A place on an axis, or a setting; and a score."""


@dataclass(frozen=True)
class Curve:
    """Scores along an axis.

    Args:
        name: of it among what was measured.
        axis: what a plot calls its axis.
        scale: of that axis, linear or log.
        place: for a stream, where each step stands on it, and which steps count, (B, T) each.
    """

    name: str
    axis: str
    scale: str
    place: Callable[[Stream], tuple[Tensor, Tensor]]

    def points(self, stream: Stream, scores: Tensor) -> list[Point]:
        """The mean of the scores (B, T) at every place that enough steps have."""
        place, counts = self.place(stream)
        x, y = place[counts], scores[counts]
        places, steps = x.unique(return_counts=True)
        return [(float(at), y[x == at].mean().item()) for at in places[steps >= MIN_STEPS]]


def _since_the_switch(stream: Stream) -> tuple[Tensor, Tensor]:
    lessons = exposures(stream)
    return lessons, stream.scored & (stream.version > 0) & (lessons <= LESSONS)


def _since_the_last_lesson(stream: Stream) -> tuple[Tensor, Tensor]:
    """Ages, pooled between powers of two: each stands for their lower end."""
    steps = age(stream)
    return 2 ** steps.clamp(min=1).log2().floor(), stream.scored & (steps > 0)


RECOVERY = Curve("recovery", "lessons since the switch", "linear", _since_the_switch)
RETENTION = Curve("retention", "steps since the last lesson", "log", _since_the_last_lesson)
