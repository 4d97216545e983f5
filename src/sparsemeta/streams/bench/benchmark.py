"""What a benchmark is: tasks, models that differ in their memory alone, and one budget for all."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self, cast

from torch import Tensor, nn

from sparsemeta.config import Count, MemoryConfig, RowsConfig, Settings
from sparsemeta.errors import require
from sparsemeta.nn import LessonLearner, PrototypeMemory, SparseMemory, StreamLearner
from sparsemeta.streams.learners import DENSE_CODES, DenseCode, LSTMMemory
from sparsemeta.streams.stream import Metric, Stream, Task, age, exposures
from sparsemeta.streams.training import TrainingConfig

CONFIDENCE = 0.1  # of recall at the start: with more, the likeliest label would be held for certain
STRENGTHS = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)  # of gradient descent, too
LESSONS = 10  # after a switch, that the curve of recovery shows
MIN_STEPS = 20  # steps that a point of a curve is at least the mean of

Point = tuple[float | None, float]  # a place on an axis, or a setting; and a score


@dataclass(frozen=True)
class Form:
    """What a learned model remembers with."""

    memory: MemoryConfig | None
    code: str = ""  # one of `DENSE_CODES`, for keys that are not those of the library
    lstm: int = 0  # width of an LSTM's state, in place of a memory
    rows: RowsConfig | None = None  # prototypes of labels, beside the memory or alone

    @property
    def dense(self) -> bool:
        """Whether it is a dense memory, which sparse ones are compared with."""
        return self.memory is not None and self.memory.addressing == "dense" and not self.lstm

    @property
    def bold(self) -> bool:
        """Whether it is one of the library's own, which a plot makes stand out."""
        own = self.memory is None or self.memory.rule == "delta"
        return own and not self.dense and not self.lstm

    def __str__(self) -> str:
        parts = (self._recalls(), self.rows and f"a row of {self.rows.key_width} for each label")
        return "; ".join(part for part in parts if part)

    def _recalls(self) -> str:
        if self.lstm:
            return f"LSTM of width {self.lstm}"
        if self.memory is None:
            return ""
        memory = self.memory
        what = "" if memory.addressing == "dense" else f", {memory.active} written"
        what += ", signed" if memory.addressing == "signed" else ""
        rule = ", additive" if memory.rule == "hebbian" else ""
        return f"{memory.heads} x {memory.slots:,} slots{what}{rule}"


def forms(
    sparse: MemoryConfig,
    equal: MemoryConfig,
    *,
    linear: int,
    lstm: int,
    rows: RowsConfig | None = None,
) -> dict[str, Form]:
    """The sparse memory and its controls.

    Args:
        sparse: the memory as one would use it.
        equal: a sparse memory of the width of the dense controls, whose parameters are as many.
        linear: width of the linear dense key.
        lstm: width of the LSTM.
        rows: prototypes of labels, instead of a memory, if there are to be any.
    """
    dense = replace(equal, addressing="dense", active=1)
    return {
        "sparse": Form(sparse),
        **({} if equal == sparse else {"sparse-equal": Form(equal)}),
        "linear": Form(replace(dense, slots=linear)),
        **{code: Form(dense, code=code) for code in DENSE_CODES},
        "additive": Form(replace(sparse, rule="hebbian")),
        "lstm": Form(replace(dense, slots=1), lstm=lstm),
        **({"rows": Form(None, rows=rows)} if rows else {}),
    }


@dataclass(frozen=True)
class Network:
    """What is around the memory, the same for all forms."""

    width: int
    outputs: int
    kind: Literal["labels", "values"] = "labels"
    encoder: Callable[[], nn.Module] = nn.Identity
    recalls: bool = False
    """Whether memories recall labels from the start, on a way in and out that is not trained:
    where labels are many, training on few spoils it. An LSTM has no such way."""
    rows: tuple[int, Callable[[], nn.Module]] | None = None
    """Width and encoder of a model of rows alone, if others: they need no features of a kernel."""

    def build(self, form: Form, rate: float) -> StreamLearner:
        """A new network, from torch's random state; `rate` is its write strength at the start."""
        width, make = (self.width, self.encoder) if form.memory or not self.rows else self.rows
        config, encoder = form.memory, make()
        if form.lstm:
            memory = cast(SparseMemory, LSTMMemory(width, form.lstm))  # it is called like one
        elif config is None:
            memory = None
        else:
            code = DenseCode(width, config, DENSE_CODES[form.code]) if form.code else None
            memory = SparseMemory(width, config, code, LessonLearner(width, config, rate))
        if self.recalls and memory and not form.lstm:
            memory.tie(CONFIDENCE)
            if form.dense and not form.code:
                memory.addressing.keep_angles()
        rows = form.rows and PrototypeMemory(width, self.outputs, replace(form.rows, rate=rate))
        parts = {"encoder": encoder, "memory": memory, "rows": rows}
        return StreamLearner(width, config, self.outputs, kind=self.kind, **parts)


@dataclass(frozen=True)
class Curve:
    """Scores along an axis: its name among what was measured, and what a plot calls the axis.

    Its scale is linear or log; `place` says where each step of a stream stands on it, and which
    steps count, (B, T) each.
    """

    name: str
    axis: str
    scale: str
    place: Callable[[Stream], tuple[Tensor, Tensor]]

    def points(self, stream: Stream, scores: Tensor) -> list[Point]:
        """The mean of the scores (B, T) at every place that enough steps have."""
        place, counts = self.place(stream)
        x, y = place[counts], scores[counts]
        places, steps = x.unique(return_counts=True)
        return [(float(at), y[x == at].mean().item()) for at in places[steps >= MIN_STEPS]]


def _since_the_switch(stream: Stream) -> tuple[Tensor, Tensor]:
    lessons = exposures(stream)
    return lessons, stream.scored & (stream.version > 0) & (lessons <= LESSONS)


def _since_the_last_lesson(stream: Stream) -> tuple[Tensor, Tensor]:
    """Ages, pooled between powers of two: each stands for their lower end."""
    steps = age(stream)
    return 2 ** steps.clamp(min=1).log2().floor(), stream.scored & (steps > 0)


RECOVERY = Curve("recovery", "lessons since the switch", "linear", _since_the_switch)
RETENTION = Curve("retention", "steps since the last lesson", "log", _since_the_last_lesson)


@dataclass(frozen=True)
class Benchmark(Settings, section="bench"):
    """A question put to all models alike."""

    name: str
    train: Task  # what is meta-trained on
    validation: tuple[Task, ...]  # for learning rates and write strengths, by the mean score
    tests: Mapping[str, Task]  # what is reported, by condition: one model, one setting for all
    headline: str  # the condition of the plot, the sweep of write strengths and the step's cost
    network: Network
    forms: Mapping[str, Form]
    training: TrainingConfig
    learning_rates: tuple[float, ...]
    rates: tuple[float, ...]  # write strengths to begin training with; the first is that of `quick`
    curves: tuple[Curve, ...] = (RECOVERY, RETENTION)  # drawn of the headline, beside the sweep
    strengths: tuple[float, ...] = STRENGTHS  # those that trained models are held at
    streams: Count = 4  # streams of each condition, per seed

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
        unknown, known = ", ".join(n for n in models if n not in self.forms), ", ".join(self.forms)
        require(not unknown, f"models: bench {self.name} has no {unknown}, only {known}")
        training, names = self.training, models or self.forms
        return replace(
            self,
            forms={name: form for name, form in self.forms.items() if name in names},
            training=training if batches is None else replace(training, steps=batches),
            streams=self.streams if streams is None else streams,
        )

    def quick(self) -> Self:
        """The sparse memory alone, as it was known to do, with a quarter of training and tests."""
        steps, streams = (math.ceil(n / 4) for n in (self.training.steps, self.streams))
        less = self.changed(["sparse"], steps, streams)
        training = replace(less.training, warmup=math.ceil(self.training.warmup / 4))
        firsts = {"learning_rates": self.learning_rates[:1], "rates": self.rates[:1]}
        return replace(less, training=training, strengths=(), **firsts)
