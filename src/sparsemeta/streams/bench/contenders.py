"""Everything that is compared: learned models, learners that need no training, the oracle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn.stream_learner import StreamLearner
from sparsemeta.streams.bench.benchmark import STRENGTHS, Benchmark
from sparsemeta.streams.bench.models import Among, Form, held
from sparsemeta.streams.classifiers import SoftmaxSGD, StreamingLDA
from sparsemeta.streams.predictions import predictions
from sparsemeta.streams.prototypes import prototypes
from sparsemeta.streams.stream import Stream, Task

SHRINKAGES = (1e-4, 1e-3, 1e-2, 1e-1)

Predict = Callable[[Stream], Tensor]


class Contender(NamedTuple):
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


def learned(model: StreamLearner, form: Form, bench: Benchmark) -> Contender:
    """A trained model, with the write strengths that it learned or with any other."""

    def at(strength: float | None) -> nn.Module:
        return model if strength is None else held(model, strength)

    def build(task: Task, strength: float | None) -> nn.Module:
        return Among(at(strength), task.outputs)

    if form.lstm:
        return _learner(build, bench, str(form))
    return _learner(build, bench, str(form), (None, *bench.strengths), writes=True)


def untrained(bench: Benchmark) -> dict[str, Contender]:
    """Those that need no training, and the oracle."""
    oracle = {bench.oracle: Contender(lambda task, _: task.oracle, "the oracle")}
    if not bench.labels:
        return oracle

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
        **oracle,
    }


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
