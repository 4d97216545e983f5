"""The one interface of all tasks: streams, and how predictions on them are scored."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from sparsemeta.errors import StreamError


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

    def to(self, device: torch.device | str) -> Stream:
        """The same streams on a device."""
        return Stream(*(tensor.to(device) for tensor in self))

    def select(self, rows: Tensor | slice) -> Stream:
        """Some of the streams, by an index of the batch."""
        return Stream(*(tensor[rows] for tensor in self))


class Task(Protocol):
    """What every task is: frozen settings that can do this."""

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of one step's input."""
        ...

    @property
    def outputs(self) -> int:
        """The number of labels, or the width W of a value."""
        ...

    def sample(self, batch: int, generator: torch.Generator) -> Stream:
        """Draw B streams on the generator's device."""
        ...

    def oracle(self, stream: Stream) -> Tensor:
        """Predictions like `stream.target`, each from what was revealed before its step."""
        ...


def score(stream: Stream, predictions: Tensor) -> Tensor:
    """Accuracy of labels, or mean squared error of values, over each stream's scored steps.

    Args:
        stream: of T steps.
        predictions: like `stream.target`.

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
    if target.is_floating_point():
        each = (predictions - target).square().mean(-1)
    else:
        each = (predictions == target).float()
    return (each * counts).sum(1) / counts.sum(1)


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
