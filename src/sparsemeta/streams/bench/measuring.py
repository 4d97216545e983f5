"""What is measured of a contender: scores, the sweep of write strengths, curves, cost."""

import time
from typing import Any

import torch

from sparsemeta.streams.bench.benchmark import Benchmark
from sparsemeta.streams.bench.contenders import Contender
from sparsemeta.streams.bench.curves import Point
from sparsemeta.streams.stream import Stream, Task, score

VALIDATION, TEST = 1 << 30, 1 << 31
"""Seeds from which streams are drawn; those of training lie below."""


def measure(contender: Contender, bench: Benchmark, seed: int) -> dict[str, Any]:
    """Choose a setting on validation streams, then see how it does on the test streams.

    Returns:
        Ready for JSON: `validation` and `sweep` are pairs of a setting and a score; each curve, by
        its name, pairs of a place on its axis and a score; `microseconds` are of CPU, per step.
    """
    validation = validate(contender, bench, seed)
    chosen = validation[bench.metric.best([score for _, score in validation])][0]
    found = {"what": contender.what, "setting": chosen, "validation": validation, "scores": {}}
    for condition, task in bench.tests.items():
        stream = _sample(task, bench, TEST + seed)
        began = time.process_time()
        predicted = contender.predict(task, chosen)(stream)
        spent = time.process_time() - began
        found["scores"][condition] = score(stream, predicted, bench.metric).mean().item()
        if condition == bench.headline:
            found["microseconds"] = 1e6 * spent / stream.taught.numel()
            each = bench.metric.each(predicted, stream.target)
            found |= {curve.name: curve.points(stream, each) for curve in bench.curves}
            found["sweep"] = _scores(contender, bench, task, stream) if contender.writes else []
    return found | {"state_bytes": contender.nbytes}


def validate(contender: Contender, bench: Benchmark, seed: int) -> list[Point]:
    """Each setting with its mean score on the validation streams of a seed."""
    found = [
        _scores(contender, bench, task, _sample(task, bench, VALIDATION + seed))
        for task in bench.validation
    ]
    return [
        (setting, sum(points[i][1] for points in found) / len(found))
        for i, setting in enumerate(contender.settings)
    ]


def _scores(contender: Contender, bench: Benchmark, task: Task, stream: Stream) -> list[Point]:
    return [
        (
            setting,
            score(stream, contender.predict(task, setting)(stream), bench.metric).mean().item(),
        )
        for setting in contender.settings
    ]


def _sample(task: Task, bench: Benchmark, seed: int) -> Stream:
    return task.sample(bench.streams, torch.Generator().manual_seed(seed))
