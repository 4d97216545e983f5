"""Everything that is compared: learned models, learners that need no training, the oracle."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import StreamLearner
from sparsemeta.streams.bench.benchmark import STRENGTHS, Benchmark
from sparsemeta.streams.bench.models import Among, Form, held
from sparsemeta.streams.classifiers import SoftmaxSGD, StreamingLDA
from sparsemeta.streams.stream import Stream, Task, predictions
from sparsemeta.streams.tasks.ordered import prototypes

SHRINKAGES = (1e-4, 1e-3, 1e-2, 1e-1)

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

    if form.lstm:
        return _learner(build, bench, str(form))
    return _learner(build, bench, str(form), (None, *bench.strengths), writes=True)


def untrained(bench: Benchmark) -> dict[str, Contender]:
    """Those that need no training, and the oracle."""
    oracle = Contender(
        lambda task, _: task.oracle, "the oracle", style={"color": "black", "linestyle": ":"}
    )
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
    settings: tuple[float | None, ...] = (None,),
    *,
    writes: bool = False,
) -> Contender:
    """A contender that is a module, called like a `StreamLearner`."""

    def predict(task: Task, setting: float | None) -> Predict:
        return partial(predictions, build(task, setting))

    headline = bench.tests[bench.headline]
    stream = headline.sample(1, torch.Generator().manual_seed(0))
    first = (tensor[:, :1] for tensor in (stream.input, stream.feedback, stream.taught))
    with torch.no_grad():
        _, state = build(headline, settings[0])(*first)
    return Contender(predict, what, settings, writes, _nbytes(state))


def _nbytes(state: Any) -> int:
    if isinstance(state, Tensor | FastWeights):
        return state.nbytes
    return sum(map(_nbytes, state))
