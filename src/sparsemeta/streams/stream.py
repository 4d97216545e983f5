"""The one interface of all tasks: streams, and how predictions on them are scored."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor, nn

from sparsemeta.config import Settings
from sparsemeta.errors import StreamError
from sparsemeta.streams.metrics import ACCURACY, SQUARED_ERROR, Metric


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

    metric: ClassVar[Metric] = ACCURACY
    """What its predictions are scored by."""
    oracle_name: ClassVar[str]
    """What its oracle is called in tables and plots."""

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
    """The mean score of each stream's scored steps.

    Args:
        stream: of T steps.
        predictions: like `stream.target`.
        metric: None is accuracy of labels, or mean squared error of values.

    Returns:
        (B,) float32.

    Raises:
        StreamError: the predictions have another shape than the targets.
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
def predictions(model: nn.Module, stream: Stream, *, segment: int = 1024) -> Tensor:
    """What a model says of streams, with its weights as they are, to be scored like an oracle.

    Args:
        model: called like a `StreamLearner`; on the stream's device.
        stream: of T steps.
        segment: steps at a time, which bounds memory and changes nothing else.

    Returns:
        Like `stream.target`: the likeliest labels, or values.
    """
    training, state, found = model.training, None, []
    model.eval()
    for cut in zip(*(tensor.split(segment, dim=1) for tensor in stream), strict=True):
        part = Stream(*cut)
        predicted, state = model(part.input, part.feedback, part.taught, state)
        found.append(predicted if part.target.is_floating_point() else predicted.argmax(-1))
    model.train(training)
    return torch.cat(found, dim=1)


def exposures(stream: Stream) -> Tensor:
    """How often what a step asks was taught before: the same source in the same version.

    Returns:
        (B, T) int64. Where it is 0 the answer cannot be known; errors by it are the recovery curve.
    """
    fact = stream.source * (int(stream.version.max()) + 1) + stream.version
    return torch.stack([seen for seen, _ in _lessons(fact, stream.taught)], dim=1)


def age(stream: Stream) -> Tensor:
    """Steps since the source of a step was last taught, in any version: the axis of retention.

    Returns:
        (B, T) int64, -1 where it never was.
    """
    ages = [
        torch.where(last < 0, -1, step - last)
        for step, (_, last) in enumerate(_lessons(stream.source, stream.taught))
    ]
    return torch.stack(ages, dim=1)


def _lessons(key: Tensor, taught: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Before each step: how often its key (B, T) was taught, and at which step last, or -1."""
    row = torch.arange(len(key), device=key.device)
    count = key.new_zeros(len(key), int(key.max()) + 1)
    latest = torch.full_like(count, -1)
    lessons = []
    for step, (k, real) in enumerate(zip(key.unbind(1), taught.unbind(1), strict=True)):
        seen, last = count[row, k], latest[row, k]
        lessons.append((seen, last))
        count[row, k] = seen + real
        latest[row, k] = torch.where(real, step, last)
    return lessons
