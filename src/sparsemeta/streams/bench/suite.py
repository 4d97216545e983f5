"""The benchmarks themselves: three that need no files, and the one on Omniglot."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor, nn

from sparsemeta import run as engine
from sparsemeta.config import MemoryConfig, RowsConfig
from sparsemeta.streams.bench.benchmark import Benchmark, Form, Network, forms
from sparsemeta.streams.embedding import EmbeddingConfig, as_bytes, embed, train_embedding
from sparsemeta.streams.tasks.images import read_digits, read_omniglot
from sparsemeta.streams.tasks.ordered import ClassOrdered
from sparsemeta.streams.tasks.rebinding import Rebinding
from sparsemeta.streams.tasks.sine import Sine
from sparsemeta.streams.training import TrainingConfig

TURNS = 4  # directions in which a character is there to be learned from, each a class of its own
WIDTH = 640  # of models of Omniglot: more than labels, so that no label's code is mixed up
HALF_LIFE = 100.0  # of a row at the start, in lessons
BANDWIDTH = 5.5  # of their first kernel, in standard deviations of an embedding's numbers


def rebinding() -> Benchmark:
    """Trained with 64 live bindings, asked with up to 512."""
    sparse = MemoryConfig(slots=16_384, active=16, heads=4, value_width=16, addressing="product")
    equal = MemoryConfig(slots=1024, active=64, heads=1, value_width=16)
    return Benchmark(
        name="rebinding",
        train=Rebinding(cues=64, length=256),
        validation=(Rebinding(cues=32), Rebinding(cues=512)),
        tests={f"M = {cues}": Rebinding(cues=cues) for cues in (32, 128, 256, 512)},
        headline="M = 512",
        network=Network(width=64, outputs=8),
        forms=forms(sparse, equal, linear=64, lstm=128),
        training=TrainingConfig(steps=40),
        learning_rates=(3e-3, 1e-2),
        rates=(0.88, 0.5, 0.98),
    )


def sine() -> Benchmark:
    """Trained and asked on one kind of wave; each model may also forget.

    A wave says the opposite half a period on: addresses are signed, and positive ones a control.
    """
    positive = MemoryConfig(
        slots=32, active=4, heads=8, key_width=16, value_width=16, retention=True
    )
    sparse = replace(positive, addressing="signed")

    def encoder() -> nn.Module:
        hidden = nn.Linear(1, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 64)
        return nn.Sequential(*hidden, nn.LayerNorm(64))

    return Benchmark(
        name="sine",
        train=Sine(length=100),
        validation=(Sine(),),
        tests={"T = 200": Sine()},
        headline="T = 200",
        network=Network(width=64, outputs=1, kind="values", encoder=encoder),
        forms={**forms(sparse, sparse, linear=16, lstm=128), "positive": Form(positive)},
        training=TrainingConfig(steps=300),
        learning_rates=(1e-2, 3e-3),
        rates=(0.5,),
        strengths=(0.01, 0.03, 0.1, 0.3, 1.0),
        streams=64,
    )


def digits() -> Benchmark:
    """Ten digits, one after the other; asked about drawings that training did not have."""
    images = read_digits()

    def encoder() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))

    asked = ClassOrdered(images[:, 120:], classes=10, shots=10, queries=40)
    sparse = MemoryConfig(slots=1024, active=64, heads=1, value_width=32)
    return Benchmark(
        name="digits",
        train=ClassOrdered(images[:, :90], classes=10, shots=5),
        validation=(ClassOrdered(images[:, 90:120], classes=10, shots=10, queries=20),),
        tests={f"{shots}-shot": replace(asked, shots=shots) for shots in (1, 5, 10)},
        headline="10-shot",
        network=Network(width=64, outputs=10, encoder=encoder),
        forms=forms(sparse, sparse, linear=64, lstm=128, rows=_rows(64)),
        training=TrainingConfig(steps=40),
        learning_rates=(3e-3,),
        rates=(0.05, 0.5),
        streams=20,
    )


def omniglot(background: Tensor, evaluation: Tensor) -> Benchmark:
    """Characters of alphabets that training did not have, in one pass.

    Both are embeddings (characters, drawings, D) uint8; of the background `TURNS` x characters,
    direction by direction, whose last fifth is for validation, the tenth before for training.
    """
    _, train, validation = _parts(background)
    most = min(600, len(evaluation))
    tests = {f"{n} classes": ClassOrdered(evaluation, classes=n) for n in (50, 100, 200, most)}
    relabelled = partial(ClassOrdered, classes=200, shots=7, rebound=0.3)
    tests["200, relabelled"] = relabelled(evaluation)
    sparse = MemoryConfig(
        slots=16_384, active=16, heads=64, key_width=32, value_width=20, addressing="product"
    )
    equal = MemoryConfig(slots=128, active=16, heads=4, value_width=160)
    seen = train.flatten(0, 1).float() / 255
    mean, scale = seen.mean(0), (seen - seen.mean(0)).std()
    encoder = partial(GaussianFeatures, mean, BANDWIDTH * scale, WIDTH)
    narrow = len(mean), partial(Centred, mean, len(mean) ** 0.5 * scale)
    return Benchmark(
        name="omniglot",
        train=ClassOrdered(train, classes=190, shots=7, queries=2, rebound=0.3, labels=most),
        validation=(ClassOrdered(validation, classes=400), relabelled(validation)),
        tests=tests,
        headline="200 classes",
        network=Network(width=WIDTH, outputs=most, encoder=encoder, recalls=True, rows=narrow),
        forms=forms(sparse, equal, linear=64, lstm=256, rows=_rows(len(mean))),
        training=TrainingConfig(steps=30, batch=2, segment=4096),
        learning_rates=(1e-3, 3e-4),
        rates=(0.001,),
        streams=1,
    )


def _rows(width: int) -> RowsConfig:
    """Rows that keep all angles of a hidden state."""
    return RowsConfig(half_lives=(HALF_LIFE,), key_width=width + 1)


def characters(
    data: Path, folder: Path, progress: engine.Progress, quick: bool = False
) -> Callable[[int], Benchmark]:
    """`omniglot` of each seed, whose embedding is trained, or read, when it is asked for.

    If it is to be quick, an embedding, too, is trained for a quarter of the time.
    """
    progress.message(f"omniglot: reading {data}")
    background = read_omniglot(data, "background", rotations=True)
    evaluation = read_omniglot(data, "evaluation")
    steps = EmbeddingConfig().steps // (4 if quick else 1)

    @cache
    def benchmark(seed: int) -> Benchmark:
        config, run = EmbeddingConfig(seed=seed, steps=steps), folder / f"embedding-{seed}-{steps}"
        network = train_embedding(_parts(background)[0], config, run, progress=progress)
        progress.message(f"omniglot, seed {seed}: all drawings are embedded")
        there, asked = embed(network, background), embed(network, evaluation)
        largest = there.max().item()
        return omniglot(as_bytes(there, largest), as_bytes(asked, largest))

    return benchmark


def _parts(background: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the embedding and what memories learn from, and what is for validation; all directions.

    A memory that learned from the classes of the embedding would take new ones to be as distinct.
    """
    turned = background.unflatten(0, (TURNS, -1))
    parts = turned.tensor_split([turned.shape[1] * tenths // 10 for tenths in (7, 8)], dim=1)
    embedding, memories, validation = (part.flatten(0, 1) for part in parts)
    return embedding, memories, validation


class GaussianFeatures(nn.Module):
    r"""Features whose products are a Gaussian kernel, at first (Rahimi and Recht 2007).

    $$z(x) = \sqrt 2 \cos(W x + b), \qquad
      z(x)^\top z(y) / D \approx \exp(-\|x - y\|^2 / 2 \sigma^2)$$

    What is close is told apart finely, and whatever is far is equally far, as a memory needs that
    sums what it was told about drawings of one class. Inputs have a mean (W), $\sigma$ is the
    bandwidth, D the width.
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


class Centred(nn.Module):
    r"""Inputs about their mean (W), of length 1 on average: $z = (x - \mu) / \ell$."""

    length: Tensor

    def __init__(self, mean: Tensor, length: Tensor):
        super().__init__()
        self.mean = nn.Parameter(mean.clone())
        self.register_buffer("length", length)

    def forward(self, x: Tensor) -> Tensor:
        """Inputs (.., W) as (.., W)."""
        return (x - self.mean) / self.length
