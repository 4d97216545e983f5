"""The one interface of all tasks: streams, and how predictions on them are scored."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from sparsemeta.config import Settings
from sparsemeta.errors import StreamError


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
        spread = f" ± {self.factor * stdev(scores):.{self.digits}f}" if len(scores) > 1 else ""
        return text + spread


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


class Stream(NamedTuple):
    """B streams of T steps. A model may be given `input`, `feedback` and `taught`, nothing else.

    Attributes:
        input: (B, T, *shape) float32. `stream._replace(input=encoder(stream.input))` is the same
            stream in an embedding.
        feedback: what is revealed after the prediction of a step, 0 where nothing is: a label,
            (B, T) int64, or a value, (B, T, W) float32.
        taught: (B, T) bool, whether it is revealed.
        target: what the prediction is scored against, like feedback.
        scored: (B, T) bool, whether the prediction counts.
        source: (B, T) int64, what the step is about: a cue, a class; counted from 0.
        version: (B, T) int64, how often the meaning of that source had changed before the step.
    """

    input: Tensor
    feedback: Tensor
    taught: Tensor
    target: Tensor
    scored: Tensor
    source: Tensor
    version: Tensor

    def to(self, device: torch.device | str) -> Self:
        """The same streams on a device."""
        return self._make(tensor.to(device) for tensor in self)

    def select(self, rows: Tensor | slice) -> Self:
        """Some of the streams, by an index of the batch."""
        return self._make(tensor[rows] for tensor in self)


class Task(Settings, ABC):
    """A kind of streams: frozen settings, and an oracle that knows the rules by heart."""

    metric: ClassVar[Metric] = ACCURACY  # what its predictions are scored by
    oracle_name: ClassVar[str]  # what its oracle is called in tables and plots

    @property
    @abstractmethod
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one step's input."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """The number of labels, or the width W of a value."""

    @abstractmethod
    def sample(self, batch: int, generator: torch.Generator) -> Stream:
        """Draw B streams on the generator's device, by its chance alone."""

    @abstractmethod
    def oracle(self, stream: Stream) -> Tensor:
        """Predictions like `stream.target`, each from what was revealed before its step."""


def score(stream: Stream, predictions: Tensor, metric: Metric | None = None) -> Tensor:
    """The mean score of each stream's scored steps, (B,) float32.

    Predictions have the shape of `stream.target`, or a StreamError is raised. A metric of None is
    accuracy of labels, or mean squared error of values.
    """
    target, counts = stream.target, stream.scored
    if predictions.shape != target.shape:
        raise StreamError(
            f"predictions of shape {tuple(predictions.shape)} cannot be scored against targets of "
            f"shape {tuple(target.shape)}. Pass one label, or one value of the target's width, for "
            "every step."
        )
    metric = metric or (SQUARED_ERROR if target.is_floating_point() else ACCURACY)
    return (metric.each(predictions, target) * counts).sum(1) / counts.sum(1)


@torch.no_grad()
def predictions(
    model: nn.Module, stream: Stream, *, segment: int = 1024, outputs: int | None = None
) -> Tensor:
    """What a model says of streams, with its weights as they are: like `stream.target`.

    Args:
        model: called like a `StreamLearner`; on the stream's device.
        stream: of T steps.
        segment: steps at a time, which bounds memory and changes nothing else.
        outputs: the model is told that there are only so many labels, or values so wide.
    """
    training, state, found = model.training, None, []
    model.eval()
    for part in zip(*(tensor.split(segment, dim=1) for tensor in stream[:3]), strict=True):
        predicted, state = model(*part, state)
        predicted = predicted[..., :outputs]
        found.append(predicted if stream.target.is_floating_point() else predicted.argmax(-1))
    model.train(training)
    return torch.cat(found, dim=1)


def exposures(stream: Stream) -> Tensor:
    """How often what a step asks was taught before, (B, T): the same source in the same version.

    Where it is 0 the answer cannot be known; errors by it are the recovery curve.
    """
    fact = stream.source * (int(stream.version.max()) + 1) + stream.version
    return _lessons(fact, stream.taught)[0]


def age(stream: Stream) -> Tensor:
    """Steps since the source of a step was last taught, in any version: (B, T), -1 for never."""
    last = _lessons(stream.source, stream.taught)[1]
    return torch.where(last < 0, -1, torch.arange(last.shape[1], device=last.device) - last)


def _lessons(key: Tensor, taught: Tensor) -> tuple[Tensor, ...]:
    """Before each step: how often its key (B, T) was taught, and at which step last, or -1."""
    row = torch.arange(len(key), device=key.device)
    count = key.new_zeros(len(key), int(key.max()) + 1)
    latest = count - 1
    found = []
    for step, (k, real) in enumerate(zip(key.unbind(1), taught.unbind(1), strict=True)):
        found.append(torch.stack([count[row, k], latest[row, k]]))
        count[row, k] += real
        latest[row, k] = torch.where(real, step, latest[row, k])
    return torch.stack(found, dim=-1).unbind()
