"""The benchmark on Omniglot: its embedding, trained on what training may see, and its streams."""

import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from sparsemeta import run as engine
from sparsemeta.config import MemoryConfig
from sparsemeta.streams.bench.benchmark import Benchmark
from sparsemeta.streams.bench.models import Network, forms
from sparsemeta.streams.embedding import EmbeddingConfig, as_bytes, embed, train_embedding
from sparsemeta.streams.tasks.omniglot import read_omniglot
from sparsemeta.streams.tasks.ordered import ClassOrdered
from sparsemeta.streams.training import TrainingConfig

TURNS = 4
"""Directions in which a character is there to be learned from, each a class of its own."""
WIDTH = 640
"""Of the models: more than there are labels, so that no label's code is mixed up with others'."""
BANDWIDTH = 5.5
"""Of the kernel that the models begin with, in standard deviations of an embedding's numbers."""


def characters(
    data: Path, folder: Path, progress: engine.Progress, *, quick: bool = False
) -> Callable[[int], Benchmark]:
    """The benchmark of each seed, whose embedding is trained when it is asked for.

    Args:
        data: folder of Omniglot.
        folder: where the embeddings are kept.
        progress: where to show how it goes.
        quick: whether an embedding, too, is trained for a quarter of the time.
    """
    progress.message(f"omniglot: reading {data}")
    background = read_omniglot(data, "background", rotations=True)
    evaluation = read_omniglot(data, "evaluation")
    learned, _, _ = _parts(background)
    steps = EmbeddingConfig().steps // (4 if quick else 1)

    @cache
    def benchmark(seed: int) -> Benchmark:
        run = folder / f"embedding-{seed}-{steps}"
        config = EmbeddingConfig(seed=seed, steps=steps)
        network = train_embedding(learned, config, run, progress=progress)
        progress.message(f"omniglot, seed {seed}: all drawings are embedded")
        there, asked = embed(network, background), embed(network, evaluation)
        largest = there.max().item()
        return omniglot(as_bytes(there, largest), as_bytes(asked, largest))

    return benchmark


def omniglot(background: Tensor, evaluation: Tensor) -> Benchmark:
    """Characters of alphabets that training did not have, in one pass.

    Args:
        background: embeddings (`TURNS` x characters, drawings, D) uint8, direction by direction;
            the last fifth of the characters is for validation, the tenth before for training.
        evaluation: of the characters to be asked about, (characters, drawings, D) uint8.
    """
    _, train, validation = _parts(background)
    most = min(600, len(evaluation))
    tests = {
        f"{classes} classes": ClassOrdered(evaluation, classes=classes)
        for classes in (50, 100, 200, most)
    }
    tests["200, relabelled"] = ClassOrdered(evaluation, classes=200, shots=7, rebound=0.3)
    sparse = MemoryConfig(
        slots=16_384, active=16, heads=64, key_width=32, value_width=20, addressing="product"
    )
    equal = MemoryConfig(slots=128, active=16, heads=4, value_width=160)
    seen = train.flatten(0, 1).float() / 255
    mean, scale = seen.mean(0), (seen - seen.mean(0)).std()

    def encoder() -> nn.Module:
        return GaussianFeatures(mean, BANDWIDTH * scale, WIDTH)

    return Benchmark(
        name="omniglot",
        train=ClassOrdered(train, classes=190, shots=7, queries=2, rebound=0.3, labels=most),
        validation=(
            ClassOrdered(validation, classes=400),
            ClassOrdered(validation, classes=200, shots=7, rebound=0.3),
        ),
        tests=tests,
        headline="200 classes",
        network=Network(width=WIDTH, outputs=most, encoder=encoder, recalls=True),
        forms=forms(sparse, equal, linear=64, lstm=256),
        training=TrainingConfig(steps=30, batch=2, segment=4096),
        learning_rates=(1e-3, 3e-4),
        rates=(0.001,),
        streams=1,
    )


class GaussianFeatures(nn.Module):
    r"""Features whose products are a Gaussian kernel, at first (Rahimi and Recht 2007).

    $$z(x) = \sqrt 2 \cos(W x + b), \qquad
      z(x)^\top z(y) / D \approx \exp(-\|x - y\|^2 / 2 \sigma^2)$$

    What is close is told apart finely, and whatever is far is equally far, as a memory needs that
    sums what it was told about drawings of one class.

    Args:
        mean: of the inputs, (W).
        bandwidth: $\sigma$, scalar.
        width: D.
    """

    def __init__(self, mean: Tensor, bandwidth: Tensor, width: int):
        super().__init__()
        self.linear = nn.Linear(len(mean), width)
        with torch.no_grad():
            self.linear.weight.normal_().div_(bandwidth)
            self.linear.bias.uniform_(0, 2 * math.pi).sub_(self.linear.weight @ mean)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (.., W) as features (.., D)."""
        return math.sqrt(2) * self.linear(x).cos()


def _parts(background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the embedding and what memories learn from, and what is for validation; all directions.

    A memory that learned from the classes of the embedding would take new ones to be as distinct.
    """
    turned = background.unflatten(0, (TURNS, -1))
    first, second = (turned.shape[1] * tenths // 10 for tenths in (7, 8))
    embedding, memories = turned[:, :first], turned[:, first:second]
    return embedding.flatten(0, 1), memories.flatten(0, 1), turned[:, second:].flatten(0, 1)
