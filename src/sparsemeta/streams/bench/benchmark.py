"""What a benchmark is: tasks, models, and the budget that every model gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sparsemeta.streams.bench.models import Form, Network
from sparsemeta.streams.stream import Task
from sparsemeta.streams.training import TrainingConfig

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
"""The one grid of write strengths, of gradient descent too."""


@dataclass(frozen=True)
class Benchmark:
    """A question put to all models alike."""

    name: str
    train: Task
    """What is meta-trained on."""
    validation: tuple[Task, ...]
    """What learning rates and write strengths are chosen on, by the mean score."""
    tests: Mapping[str, Task]
    """What is reported, by condition: one model, one setting for all."""
    headline: str
    """The condition of the plot, the sweep of write strengths and the step's cost."""
    network: Network
    forms: Mapping[str, Form]
    training: TrainingConfig
    learning_rates: tuple[float, ...]
    rates: tuple[float, ...]
    """Write strengths to begin training with; the first is that of `--quick`."""
    oracle: str
    """What the oracle of the tasks is called."""
    strengths: tuple[float, ...] = STRENGTHS
    """Those that trained models are held at."""
    streams: int = 4
    """Streams of each condition, per seed."""

    @property
    def labels(self) -> bool:
        """Whether labels are told apart: scores are accuracies, and more is better."""
        return self.network.kind == "labels"

    def quick(self) -> Benchmark:
        """The sparse memory alone, as it was known to do, with a quarter of training and tests."""
        training = self.training
        return replace(
            self,
            training=replace(
                training, steps=-(-training.steps // 4), warmup=-(-training.warmup // 4)
            ),
            strengths=(),
            streams=-(-self.streams // 4),
            forms={"sparse": self.forms["sparse"]},
            learning_rates=self.learning_rates[:1],
            rates=self.rates[:1],
        )
