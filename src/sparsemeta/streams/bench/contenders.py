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
VALIDATION, TEST = 1 << 30, 1 << 31
"""Seeds from which streams are drawn; those of training lie below."""

Predict = Callable[[Stream], Tensor]
Style = Mapping[str, Any]
"""How a line is drawn, in the words of matplotlib."""


@dataclass(frozen=True)
class Contender:
    """Something that predicts the steps of a stream."""

    predict: Callable[[Task, float | None], Predict]
    """What it does on a task, with one of its settings."""
    what: str
    settings: tuple[float | None, ...] = (None,)
    """To be chosen from on validation streams; None is what it was trained to do."""
    writes: bool = False
    """Whether those settings are write strengths."""
    nbytes: int | None = None
    """Of what a stream carries from step to step, in the headline's condition."""
    style: Style = field(default_factory=lambda: {"linestyle": "--"})


def learned(model: StreamLearner, form: Form, bench: Benchmark) -> Contender:
    """A trained model, with the write strengths that it learned or with any other."""

    def build(task: Task, strength: float | None) -> nn.Module:
        return Among(model if strength is None else held(model, strength), task.outputs)

    settings = () if form.lstm else bench.strengths
    return _learner(build, bench, str(form), (None, *settings), writes=not form.lstm)


def untrained(bench: Benchmark) -> dict[str, Contender]:
    """Those that need no training, and the oracle."""
    black = {"color": "black", "linestyle": ":"}
    oracle = Contender(lambda task, _: task.oracle, "the oracle", style=black)
    if bench.network.kind == "values":
        return {bench.train.oracle_name: oracle}

    def lda(task: Task, shrinkage: float | None) -> nn.Module:
        return Flat(StreamingLDA(task.outputs, shrinkage or 0))

    def sgd(task: Task, rate: float | None) -> nn.Module:
        return Flat(SoftmaxSGD(task.outputs, rate or 0), scaled=True)

    return {
        "prototypes": Contender(
            lambda task, _: partial(prototypes, outputs=task.outputs), "nearest running mean"
        ),
        "lda": _learner(lda, bench, "streaming discriminant analysis", SHRINKAGES),
        "sgd": _learner(sgd, bench, "softmax by gradient descent", STRENGTHS, writes=True),
        bench.train.oracle_name: oracle,
    }


def dense(form: Form) -> bool:
    """Whether a form is a dense memory, which sparse ones are compared with."""
    return form.memory.addressing == "dense" and not form.lstm


def styles(bench: Benchmark) -> dict[str, Style]:
    """How the line of each contender is drawn: sparse memories are bold, the others have a dash."""
    lines: dict[str, Style] = {}
    for place, (name, form) in enumerate(bench.forms.items()):
        bold = form.memory.addressing != "dense" and form.memory.rule == "delta"
        lines[name] = {"color": f"C{place}", "linewidth": 2.5 if bold else 1.5}
    return lines | {name: contender.style for name, contender in untrained(bench).items()}


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
    def of(setting: float | None) -> float:
        predicted = contender.predict(task, setting)(stream)
        return score(stream, predicted, bench.metric).mean().item()

    return [(setting, of(setting)) for setting in contender.settings]


def _sample(task: Task, bench: Benchmark, seed: int) -> Stream:
    return task.sample(bench.streams, torch.Generator().manual_seed(seed))


def held(model: StreamLearner, strength: float) -> StreamLearner:
    """A copy that writes with one strength in (0, 1] at every step, whatever it learned."""
    model = deepcopy(model)
    assert isinstance(model.memory, SparseMemory)
    model.memory.meta_learner.hold(strength)
    return model


class Among(nn.Module):
    """A learner that is told that there are only so many labels, or values so wide."""

    def __init__(self, learner: nn.Module, outputs: int):
        super().__init__()
        self.learner, self.outputs = learner, outputs

    def forward(self, *stream: Tensor) -> tuple[Tensor, object]:
        """Called like the learner."""
        predicted, state = self.learner(*stream)
        return predicted[..., : self.outputs], state


class Flat(nn.Module):
    """A learner of vectors that is shown images, each scaled to mean 0 and variance 1 or not."""

    def __init__(self, learner: nn.Module, *, scaled: bool = False):
        super().__init__()
        self.learner, self.scaled = learner, scaled

    def forward(self, inputs: Tensor, *rest: Any) -> tuple[Tensor, Any]:
        """Called like the learner."""
        x = inputs.flatten(2)
        return self.learner(layer_norm(x, x.shape[-1:]) if self.scaled else x, *rest)


def _learner(
    build: Callable[[Task, float | None], nn.Module],
    bench: Benchmark,
    what: str,
    settings: tuple[float | None, ...],
    *,
    writes: bool = False,
) -> Contender:
    """A contender that is a module, called like a `StreamLearner`."""
    headline = bench.tests[bench.headline]
    stream = headline.sample(1, torch.Generator().manual_seed(0))
    with torch.no_grad():
        _, state = build(headline, settings[0])(*(tensor[:, :1] for tensor in stream[:3]))
    return Contender(
        lambda task, setting: partial(predictions, build(task, setting)),
        what,
        settings,
        writes,
        _nbytes(state),
    )


def _nbytes(state: Any) -> int:
    if isinstance(state, Tensor | FastWeights):
        return state.nbytes
    return sum(map(_nbytes, state))
