"""Everything that is compared: learned models, learners that need no training, the oracle."""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import SparseMemory, StreamLearner
from sparsemeta.streams.bench.benchmark import STRENGTHS, Benchmark, Form, Point
from sparsemeta.streams.learners import SoftmaxSGD, StreamingLDA
from sparsemeta.streams.stream import Stream, Task, predictions, score
from sparsemeta.streams.tasks.ordered import prototypes

SHRINKAGES = (1e-4, 1e-3, 1e-2, 1e-1)
VALIDATION, TEST = 1 << 30, 1 << 31  # seeds of streams; those of training lie below

Predict = Callable[[Stream], Tensor]


@dataclass(frozen=True)
class Contender:
    """Something that predicts the steps of a stream."""

    predict: Callable[[Task, float | None], Predict]  # on a task, with one of its settings
    what: str
    settings: tuple[float | None, ...] = (None,)  # to choose from; None is as it was trained
    writes: bool = False  # whether those settings are write strengths
    nbytes: int | None = None  # of what a stream carries on, in the headline's condition
    style: Mapping[str, Any] = field(default_factory=lambda: {"linestyle": "--"})  # of matplotlib


def learned(model: StreamLearner, form: Form, bench: Benchmark) -> Contender:
    """A trained model, with the write strengths that it learned or with any other."""

    def build(task: Task, strength: float | None) -> nn.Module:
        return model if strength is None else held(model, strength)

    settings = () if form.lstm else bench.strengths
    return _learner(build, bench, str(form), (None, *settings), writes=not form.lstm)


def untrained(bench: Benchmark) -> dict[str, Contender]:
    """Those that need no training, and the oracle; images are vectors to them."""
    black = {"color": "black", "linestyle": ":"}
    oracle = Contender(lambda task, _: task.oracle, "the oracle", style=black)
    if bench.network.kind == "values":
        return {bench.train.oracle_name: oracle}

    def nearest(task: Task, setting: float | None) -> Predict:
        return partial(prototypes, outputs=task.outputs)

    def lda(task: Task, shrinkage: float | None) -> nn.Module:
        return StreamingLDA(task.outputs, shrinkage or 0)

    def sgd(task: Task, rate: float | None) -> nn.Module:
        return SoftmaxSGD(task.outputs, rate or 0)

    def flat(x: Tensor) -> Tensor:
        return x.flatten(2)

    def scaled(x: Tensor) -> Tensor:  # to mean 0 and variance 1
        return layer_norm(flat(x), flat(x).shape[-1:])

    about = "streaming discriminant analysis", "softmax by gradient descent"
    return {
        "prototypes": Contender(nearest, "nearest running mean"),
        "lda": _learner(lda, bench, about[0], SHRINKAGES, flat),
        "sgd": _learner(sgd, bench, about[1], STRENGTHS, scaled, writes=True),
        bench.train.oracle_name: oracle,
    }


def measure(contender: Contender, bench: Benchmark, seed: int) -> dict[str, Any]:
    """Choose a setting on validation streams, then see how it does on the test streams.

    Ready for JSON: `validation`, `sweep` and each curve, by its name, are pairs of a setting or a
    place on its axis and a score; `microseconds` are of CPU, per step.
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
            swept = _scores(contender, bench, task, stream) if contender.writes else ()
            found["sweep"] = list(zip(contender.settings, swept, strict=False))
    return found | {"state_bytes": contender.nbytes}


def validate(contender: Contender, bench: Benchmark, seed: int) -> list[Point]:
    """Each setting with its mean score on the validation streams of a seed."""
    streams = ((task, _sample(task, bench, VALIDATION + seed)) for task in bench.validation)
    found = [_scores(contender, bench, task, stream) for task, stream in streams]
    means = (sum(scores) / len(found) for scores in zip(*found, strict=True))
    return list(zip(contender.settings, means, strict=True))


def _scores(contender: Contender, bench: Benchmark, task: Task, stream: Stream) -> list[float]:
    found = (contender.predict(task, setting)(stream) for setting in contender.settings)
    return [score(stream, predicted, bench.metric).mean().item() for predicted in found]


def _sample(task: Task, bench: Benchmark, seed: int) -> Stream:
    return task.sample(bench.streams, torch.Generator().manual_seed(seed))


def held(model: StreamLearner, strength: float) -> StreamLearner:
    """A copy that writes with one strength in (0, 1] at every step, whatever it learned."""
    model = deepcopy(model)
    if isinstance(model.memory, SparseMemory):
        model.memory.meta_learner.hold(strength)
    if model.rows is not None:
        model.rows.hold(strength)
    return model


def _learner(
    build: Callable[[Task, float | None], nn.Module],
    bench: Benchmark,
    what: str,
    settings: tuple[float | None, ...],
    shown: Callable[[Tensor], Tensor] = lambda x: x,
    *,
    writes: bool = False,
) -> Contender:
    """A contender that is a module, called like a `StreamLearner` with inputs as `shown`."""

    def predict(task: Task, setting: float | None) -> Predict:
        model = build(task, setting)
        return lambda stream: predictions(
            model, stream._replace(input=shown(stream.input)), outputs=task.outputs
        )

    headline = bench.tests[bench.headline]
    x, feedback, taught, *_ = headline.sample(1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        model = build(headline, settings[0])
        _, state = model(shown(x[:, :1]), feedback[:, :1], taught[:, :1])
    return Contender(predict, what, settings, writes, _nbytes(state))


def _nbytes(state: Any) -> int:
    return state.nbytes if isinstance(state, Tensor | FastWeights) else sum(map(_nbytes, state))
