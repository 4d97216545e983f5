"""The benchmark on Omniglot: its embedding, trained on what training may see, and its streams."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from sparsemeta import engine
from sparsemeta.config import MemoryConfig
from sparsemeta.tasks.bench.benchmark import Benchmark
from sparsemeta.tasks.bench.models import Network, forms
from sparsemeta.tasks.embedding import EmbeddingConfig, as_bytes, embed, train_embedding
from sparsemeta.tasks.omniglot import read_omniglot
from sparsemeta.tasks.ordered import ClassOrdered
from sparsemeta.tasks.prototypes import prototypes
from sparsemeta.tasks.stream import Stream, Task
from sparsemeta.tasks.training import TrainingConfig

TURNS = 4
"""Directions in which a character is there to be learned from, each a class of its own."""


def characters(
    data: Path, folder: Path, progress: engine.Progress, *, steps: int | None = None
) -> Callable[[int], Benchmark]:
    """The benchmark of each seed, whose embedding is trained when it is asked for.

    Args:
        data: folder of Omniglot.
        folder: where the embeddings are kept.
        progress: where to show how it goes.
        steps: episodes that an embedding is trained on; None is as many as it needs.
    """
    progress.message(f"omniglot: reading {data}")
    background = read_omniglot(data, "background", rotations=True)
    evaluation = read_omniglot(data, "evaluation")
    learned, _ = _parts(background)
    config = EmbeddingConfig()

    @cache
    def benchmark(seed: int) -> Benchmark:
        chosen = replace(config, seed=seed, steps=steps or config.steps)
        file = folder / f"embedding-{seed}-{chosen.steps}.safetensors"
        network = train_embedding(learned, chosen, file, progress=progress)
        progress.message(f"omniglot, seed {seed}: all drawings are embedded")
        there, asked = embed(network, background), embed(network, evaluation)
        largest = there.max().item()
        return omniglot(as_bytes(there, largest), as_bytes(asked, largest))

    return benchmark


def omniglot(background: Tensor, evaluation: Tensor) -> Benchmark:
    """Characters of alphabets that training did not have, in one pass.

    Args:
        background: embeddings (`TURNS` x characters, drawings, D) uint8, first all as drawn; the
            last fifth of the characters is for validation.
        evaluation: of the characters to be asked about, (characters, drawings, D) uint8.
    """
    train, validation = _parts(background)
    width, most = evaluation.shape[-1], min(600, len(evaluation))
    tests = {
        f"{classes} classes": ClassOrdered(evaluation, classes=classes)
        for classes in (50, 100, 200, most)
    }
    tests["200, relabelled"] = ClassOrdered(evaluation, classes=200, shots=7, rebound=0.3)
    taught = ClassOrdered(train, classes=100, shots=5, queries=2, rebound=0.3)
    sparse = MemoryConfig(slots=4096, active=16, heads=4, value_width=32, addressing="product")
    equal = MemoryConfig(slots=1024, active=64, heads=1, value_width=64)

    def encoder() -> nn.Module:
        return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 128))

    return Benchmark(
        name="omniglot",
        train=Spread(taught, most),
        validation=(
            ClassOrdered(validation, classes=50),
            ClassOrdered(validation, classes=len(validation)),
            ClassOrdered(validation, classes=len(validation), shots=7, rebound=0.3),
        ),
        tests=tests,
        headline="200 classes",
        oracle="prototypes",
        network=Network(width=128, outputs=most, encoder=encoder),
        forms=forms(sparse, equal, linear=64, lstm=256),
        training=TrainingConfig(steps=120, batch=8),
        learning_rates=(3e-3,),
        rates=(0.05, 0.5),
        streams=2,
    )


def _parts(background: Tensor) -> tuple[Tensor, Tensor]:
    """What is learned from, in all directions, and what is validated on, as drawn."""
    turned = background.unflatten(0, (TURNS, -1))
    kept = turned.shape[1] * 4 // 5
    return turned[:, :kept].flatten(0, 1), turned[0, kept:]


@dataclass(frozen=True)
class Spread:
    """A task whose labels are drawn, for every stream, from more than it needs."""

    task: Task
    outputs: int

    @property
    def input_shape(self) -> tuple[int, ...]:
        """That of the task."""
        return self.task.input_shape

    def sample(self, batch: int, generator: torch.Generator) -> Stream:
        """Draw B streams on the generator's device."""
        stream = self.task.sample(batch, generator)
        device = generator.device
        chance = torch.rand(batch, self.outputs, generator=generator, device=device)
        drawn = chance.argsort(-1)[:, : self.task.outputs]
        target = drawn.gather(1, stream.target)
        return stream._replace(target=target, feedback=torch.where(stream.taught, target, 0))

    def oracle(self, stream: Stream) -> Tensor:
        """The nearest prototype."""
        return prototypes(stream, self.outputs)
