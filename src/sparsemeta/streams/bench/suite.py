"""The benchmarks that need no files."""

from dataclasses import replace

from torch import nn

from sparsemeta.config import MemoryConfig
from sparsemeta.streams.bench.benchmark import Benchmark
from sparsemeta.streams.bench.models import Form, Network, forms
from sparsemeta.streams.tasks.digits import read_digits
from sparsemeta.streams.tasks.ordered import ClassOrdered
from sparsemeta.streams.tasks.rebinding import Rebinding
from sparsemeta.streams.tasks.sine import Sine
from sparsemeta.streams.training import TrainingConfig


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
    sparse = MemoryConfig(slots=1024, active=64, heads=1, value_width=32)

    def encoder() -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64))

    return Benchmark(
        name="digits",
        train=ClassOrdered(images[:, :90], classes=10, shots=5),
        validation=(ClassOrdered(images[:, 90:120], classes=10, shots=10, queries=20),),
        tests={
            f"{shots}-shot": ClassOrdered(images[:, 120:], classes=10, shots=shots, queries=40)
            for shots in (1, 5, 10)
        },
        headline="10-shot",
        network=Network(width=64, outputs=10, encoder=encoder),
        forms=forms(sparse, sparse, linear=64, lstm=128),
        training=TrainingConfig(steps=40),
        learning_rates=(3e-3,),
        rates=(0.05, 0.5),
        streams=20,
    )
