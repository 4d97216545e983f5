"""What is measured of a contender: scores, the sweep of write strengths, curves, cost."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sparsemeta.streams.bench.benchmark import Benchmark
from sparsemeta.streams.bench.contenders import Contender
from sparsemeta.streams.stream import Stream, Task, age, exposures, score

VALIDATION, TEST = 1 << 30, 1 << 31
"""Seeds from which streams are drawn; those of training lie below."""
LESSONS = 10
"""After a switch, that the curve of recovery shows."""
FEW = 20
"""Fewer steps than these make no point of a curve."""

Point = tuple[float | None, float]
"""A setting, lessons or steps; and a score."""


def measure(contender: Contender, bench: Benchmark, seed: int) -> dict[str, Any]:
    """Choose a setting on validation streams, then see how it does on the test streams.

    Returns:
        Ready for JSON: `validation` and `sweep` are pairs of a setting and a score; `recovery` and
        `retention` pairs of lessons after a switch, or of steps since the last lesson, and a score;
        `microseconds` are of CPU, per step.
    """
    validation = validate(contender, bench, seed)
    chosen = best(bench, validation)[0]
    found = {"what": contender.what, "setting": chosen, "validation": validation, "scores": {}}
    for condition, task in bench.tests.items():
        stream = _sample(task, bench, TEST + seed)
        began = time.process_time()
        predicted = contender.predict(task, chosen)(stream)
        spent = time.process_time() - began
        found["scores"][condition] = score(stream, predicted).mean().item()
        if condition == bench.headline:
            found["microseconds"] = 1e6 * spent / stream.taught.numel()
            found |= curves(stream, predicted)
            found["sweep"] = _scores(contender, task, stream) if contender.writes else []
    return found | {"state_bytes": contender.nbytes}


def validate(contender: Contender, bench: Benchmark, seed: int) -> list[Point]:
    """Each setting with its mean score on the validation streams of a seed."""
    found = [
        _scores(contender, task, _sample(task, bench, VALIDATION + seed))
        for task in bench.validation
    ]
    return [
        (setting, sum(points[i][1] for points in found) / len(found))
        for i, setting in enumerate(contender.settings)
    ]


def best(bench: Benchmark, points: Sequence[Point]) -> Point:
    """The point of the best score, the first of equals; what is not a number is never best."""
    sign = 1 if bench.labels else -1

    def rank(point: Point) -> float:
        return -math.inf if math.isnan(point[1]) else sign * point[1]

    return max(points, key=rank)


def curves(stream: Stream, predicted: Tensor) -> dict[str, list[Point]]:
    """The scores of single steps after a switch, and by the age of what they ask about.

    Ages are pooled between powers of two, and stand for their lower end.
    """
    if stream.target.is_floating_point():
        each = (predicted - stream.target).square().mean(-1)
    else:
        each = (predicted == stream.target).float()
    lessons, old = exposures(stream), age(stream)
    switched = stream.scored & (stream.version > 0) & (lessons <= LESSONS)
    known = stream.scored & (old > 0)
    doubled = 2 ** old.clamp(min=1).log2().floor()
    return {
        "recovery": _means(lessons[switched], each[switched]),
        "retention": _means(doubled[known], each[known]),
    }


def _means(axis: Tensor, value: Tensor) -> list[Point]:
    places, counts = axis.unique(return_counts=True)
    return [(float(x), value[axis == x].mean().item()) for x in places[counts >= FEW]]


def _scores(contender: Contender, task: Task, stream: Stream) -> list[Point]:
    return [
        (setting, score(stream, contender.predict(task, setting)(stream)).mean().item())
        for setting in contender.settings
    ]


def _sample(task: Task, bench: Benchmark, seed: int) -> Stream:
    return task.sample(bench.streams, torch.Generator().manual_seed(seed))
