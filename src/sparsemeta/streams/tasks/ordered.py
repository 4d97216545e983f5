"""Images class after class, in one pass without replay, and their baseline: running means."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor
from typing_extensions import override

from sparsemeta.config import Count, Within
from sparsemeta.errors import require
from sparsemeta.streams.stream import Stream, Task


@dataclass(frozen=True, eq=False)
class ClassOrdered(Task, section="ordered"):
    """Learn one class after the other from a few images each, then be asked about all of them.

    Of each stream: classes are drawn, and their labels are a random permutation. They are taught in
    turn, all images of a class together. With `rebound`, that share of them then changes meaning:
    they exchange labels and are taught again in turn, from new images. At last come queries about
    all classes in random order, scored but not taught. No image is shown twice. Images are in 0 to
    1; a source is a class, counted in the order in which they are first taught, and its version is
    1 once its meaning has changed.
    """

    oracle_name = "prototypes"

    images: Tensor = field(repr=False)  # (classes at hand, images of each, *shape) uint8
    classes: Count = 50  # classes in a stream (C)
    shots: Count = 15  # images that a class is taught from, each time
    queries: Count = 5  # images of each class that are asked about
    rebound: Annotated[float, Within(0, 1)] = 0.0  # share of the classes that change meaning
    labels: Count | None = None  # those of a stream are drawn from so many; None is its classes

    @override
    def check(self) -> None:
        dtype, shape, classes = self.images.dtype, tuple(self.images.shape), self.classes
        require(
            dtype == torch.uint8 and len(shape) >= 3,
            f"images must be uint8 of shape (classes, images of each, ...), not {dtype} of shape "
            f"{shape}",
        )
        there, each = self.images.shape[:2]
        require(classes <= there, f"classes = {classes} cannot be drawn from the images of {there}")
        few = f"labels = {self.labels} are too few for {classes} classes"
        require(self.outputs >= classes, few)
        require(
            self._moved != 1,
            f"rebound = {self.rebound} of {classes} classes is one of them: give a share that is "
            "none of them, or at least two that exchange their labels",
        )
        require(
            self._needed <= each,
            f"a class needs {self._needed} images (shots = {self.shots}"
            f"{', twice,' if self._moved else ''} and queries = {self.queries}) but has {each}",
        )

    @property
    @override
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.images.shape[2:])

    @property
    @override
    def outputs(self) -> int:
        return self.labels or self.classes

    @property
    def _moved(self) -> int:
        return round(self.rebound * self.classes)

    @property
    def _needed(self) -> int:
        return self.shots * (2 if self._moved else 1) + self.queries

    @override
    def sample(self, batch: int, generator: torch.Generator) -> Stream:
        (there, each), classes = self.images.shape[:2], self.classes
        kind = _shuffled((batch, there), generator)[:, :classes]
        drawing = _shuffled((batch, classes, each), generator)
        label = _shuffled((batch, classes), generator)
        moved = _shuffled((batch, classes), generator)[:, : self._moved]
        label_after = label.scatter(1, moved, label.gather(1, moved.roll(1, 1)))
        source, use, version = self._plan(moved, generator)
        lessons = (self.classes + self._moved) * self.shots
        taught = (torch.arange(source.shape[1], device=source.device) < lessons).expand(batch, -1)
        target = torch.where(version > 0, label_after.gather(1, source), label.gather(1, source))
        if self.labels:
            target = _shuffled((batch, self.labels), generator)[:, :classes].gather(1, target)
        row = torch.arange(batch, device=source.device)[:, None]
        shown = (kind.gather(1, source), drawing[row, source, use])
        images = self.images[tuple(index.to(self.images.device) for index in shown)]
        x = images.to(source.device).float() / 255
        feedback = torch.where(taught, target, 0)
        return Stream(x, feedback, taught, target, ~taught, source, version)

    @override
    def oracle(self, stream: Stream) -> Tensor:
        """The nearest prototype, of images or of whatever embedding the stream is in."""
        return prototypes(stream, self.outputs)

    def _plan(self, moved: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """Which class each step shows, which of its images by lesson then query, which version."""
        batch, shots = len(moved), self.shots
        asked = _shuffled((batch, self.classes * self.queries), generator)
        first = torch.arange(self.classes * shots, device=moved.device).expand(batch, -1)
        again = torch.arange(self._moved * shots, device=moved.device).expand(batch, -1)
        source = [first // shots, moved.gather(1, again // shots), asked // self.queries]
        asked_use = self._needed - self.queries + asked % self.queries
        use = [first % shots, shots + again % shots, asked_use]
        changed = moved.new_zeros(batch, self.classes).scatter(1, moved, 1)
        version = [torch.zeros_like(first), torch.ones_like(again), changed.gather(1, source[2])]
        return (torch.cat(parts, 1) for parts in (source, use, version))


def _shuffled(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random permutations along the last axis."""
    return torch.rand(shape, generator=generator, device=generator.device).argsort(-1)


def prototypes(stream: Stream, outputs: int) -> Tensor:
    """The label (B, T), of so many, whose mean input so far is nearest: a memory of means alone.

    It is 0 where no stream is scored, and before anything was taught.
    """
    x = stream.input.flatten(2)
    row = torch.arange(len(x), device=x.device)
    total = x.new_zeros(len(x), outputs, x.shape[-1])
    count = x.new_zeros(len(x), outputs)
    nearest = torch.zeros_like(stream.feedback)
    for step, asked in enumerate(stream.scored.any(0).tolist()):
        now, label, taught = x[:, step], stream.feedback[:, step], stream.taught[:, step]
        if asked:
            distance = (total / count.clamp(min=1)[..., None] - now[:, None]).square().sum(-1)
            nearest[:, step] = distance.masked_fill(count == 0, torch.inf).argmin(-1)
        total[row, label] += now * taught[:, None]
        count[row, label] += taught
    return nearest
