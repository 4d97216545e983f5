"""What a benchmark is: tasks, models, and the budget that every model gets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self

from sparsemeta.config import Count, Settings
from sparsemeta.errors import require
from sparsemeta.streams.bench.curves import RECOVERY, RETENTION, Curve
from sparsemeta.streams.bench.models import Form, Network
from sparsemeta.streams.metrics import Metric
from sparsemeta.streams.stream import Task
from sparsemeta.streams.training import TrainingConfig

STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
"""The one grid of write strengths, of gradient descent too."""


@dataclass(frozen=True)
class Benchmark(Settings, section="bench"):
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
    """Write strengths to begin training with; the first is that of `quick`."""
    curves: tuple[Curve, ...] = (RECOVERY, RETENTION)
    """What is drawn of the headline, beside the sweep."""
    strengths: tuple[float, ...] = STRENGTHS
    """Those that trained models are held at."""
    streams: Count = 4
    """Streams of each condition, per seed."""

    @property
    def metric(self) -> Metric:
        """What all is scored by."""
        return self.train.metric

    def changed(
        self, models: Sequence[str] = (), batches: int | None = None, streams: int | None = None
    ) -> Self:
        """The same question to some of the models, with another budget; None leaves it.

        Raises:
            ConfigError: there is no such model, or no batches or streams are left.
        """
        unknown = ", ".join(name for name in models if name not in self.forms)
        require(
            not unknown,
            f"models: bench {self.name} has no {unknown}, only {', '.join(self.forms)}",
        )
        training = self.training
        return replace(
            self,
            forms={name: form for name, form in self.forms.items() if name in models or not models},
            training=training if batches is None else replace(training, steps=batches),
            streams=self.streams if streams is None else streams,
        )

    def quick(self) -> Self:
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
