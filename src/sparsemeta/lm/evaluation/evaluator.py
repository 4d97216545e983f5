"""Prequential evaluation: read texts once, from left to right, and score before reading; tune.

All arms read the same stream with the same attention window; they differ in what may adapt to it.
"""

import itertools
import math
import random
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Group
from rich.table import Table

from sparsemeta.config import to_dict
from sparsemeta.errors import require
from sparsemeta.lm.evaluation.adaptations import Adaptation
from sparsemeta.lm.evaluation.arms import Arm
from sparsemeta.lm.reading import Learner, Model, Reader, segments
from sparsemeta.lm.scores import Passage, Reading, Score, finite, opened
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.run import Precision, Progress

EXCERPT = 8192
"""Characters of training text that are read in a row, from an empty memory."""


class Evaluator:
    """A model that reads texts in one arm after the other, and is left as it was; see `compare`."""

    def __init__(
        self,
        model: Model,
        tokenizer: Tokenizer,
        training: Sequence[Document] = (),
        *,
        segment: int = 256,
        precision: Precision = "32-true",
        progress: Progress | None = None,
    ):
        require(segment >= 1, "segment must be at least 1")
        self.model, self.segment = model, segment
        self.precision: Precision = precision
        self.progress = progress or Progress(quiet=True)
        self._tokenizer, self._training = tokenizer, training
        self._prepared: dict[tuple[object, ...], Learner] = {}

    def require_training(self, arms: Sequence[Arm]) -> None:
        """Raise `ConfigError` for an arm that has to see training text, if there is none."""
        for arm in arms:
            require(
                bool(self._training) or not any(part.training_tokens for part in arm.parts),
                f"the arm '{arm}' needs training text, for its gradients",
            )

    def reading(self, arm: Arm, texts: Sequence[Passage]) -> Reading:
        """Let the model read texts in an arm."""
        for part in arm.parts:
            self.prepared(part, arm)
        self.progress.message(f"{arm}:")
        policy = arm.policy(self.model.context, self.model.has_memory)
        return Reading(str(arm), policy, tuple(self.read(arm, texts)), arm.settings())

    def read(self, arm: Arm, texts: Sequence[Passage], *beside: Learner) -> list[Score]:
        """The same, the scores alone; other learners may look on."""
        prepared = [self.prepared(part, arm) for part in arm.parts]
        done = itertools.count(1)
        with ExitStack() as stack:
            pairs = zip(arm.parts, prepared, strict=True)
            adapt = [stack.enter_context(part.adapting(self.model, seen)) for part, seen in pairs]
            learners, size, precision = [*adapt, *beside], self.segment, self.precision
            reader = Reader(
                self.model, window="stream", learners=learners, segment=size, precision=precision
            )

            def seen(nats: np.ndarray) -> None:
                self.progress.update(next(done), float(nats.mean()), len(nats))

            with torch.no_grad():  # once, at no text's cost, what a first call has to set up
                next(segments(self.model, texts[0].tokens[:1]))
            parts = (math.ceil((len(text.tokens) - 1) / reader.segment) for text in texts)
            with self.progress.track(0, sum(parts)):
                return [reader.read(text, seen) for text in texts]

    def prepared(self, part: Adaptation, arm: Arm) -> Learner | None:
        """What saw the training text, once with memory off, once on; None if nothing had to."""
        if not part.training_tokens:
            return None
        self.require_training([arm])
        fixed = [value for name, value in vars(part).items() if name not in part.axes]
        key = (part.name, arm.alone, *fixed)
        if key not in self._prepared:
            excerpts = sample(self._tokenizer, self._training, part.training_tokens)
            count = sum(len(excerpt.tokens) - 1 for excerpt in excerpts)
            self.progress.message(f"{arm}: gradients of {count:,} tokens of training text")
            self._prepared[key] = watch = part.prepare(self.model)
            self.read(arm.alone, excerpts, watch)
        return self._prepared[key]


def sample(
    tokenizer: Tokenizer, documents: Sequence[Document], tokens: int, seed: int = 0
) -> list[Passage]:
    """Excerpts of documents, in an order drawn by the seed, until there are enough tokens.

    The last has as many as are still missing; all of the text is read if it has fewer.
    """
    places = [(text, at) for text in documents for at in range(0, len(text.text), EXCERPT)]
    random.Random(seed).shuffle(places)
    excerpts: list[Passage] = []
    for document, start in places:
        if tokens <= 0:
            break
        found = tokenizer.encode(document.text[start : start + EXCERPT])[:tokens]
        excerpts.append(Passage(document.name, opened(tokenizer, found)))
        tokens -= len(found)
    return excerpts


class Trial(NamedTuple):
    """One point of a grid."""

    settings: Adaptation
    nats: float  # per token of the validation text


@dataclass(frozen=True)
class Tuned:
    """A grid, and what was chosen from it."""

    memory: str  # the arm's life of the memory: each has a choice of its own
    trials: tuple[Trial, ...]

    @property
    def part(self) -> str:
        """What was tuned."""
        return self.trials[0].settings.name

    @property
    def best(self) -> Trial:
        """The fewest nats; what is not a number is never best."""
        return min(self.trials, key=lambda t: t.nats if np.isfinite(t.nats) else np.inf)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        trials = [to_dict(t.settings) | {"nats": finite(t.nats)} for t in self.trials]
        chosen = to_dict(self.best.settings)
        return {"part": self.part, "memory": self.memory, "chosen": chosen, "trials": trials}

    def table(self) -> Group:
        """The grid as it was tried, and what was chosen."""
        down, across = self.trials[0].settings.axes
        rows: dict[float, dict[float, str]] = {}
        for trial in self.trials:
            row, column = (getattr(trial.settings, axis) for axis in (down, across))
            mark = "*" if trial is self.best else " "
            rows.setdefault(row, {})[column] = f"{trial.nats:.4f}{mark}"
        grid = Table(f"{down}, {across}", box=None, header_style="bold", padding=(0, 1))
        for column in next(iter(rows.values())):
            grid.add_column(f"{column:g}", justify="right")
        for row, cells in rows.items():
            grid.add_row(f"{row:g}", *cells.values())
        about = f"{self.part} tuned, memory {self.memory}: nats per token of validation"
        return Group(about, grid, "")


def tune(
    evaluator: Evaluator, texts: Sequence[Passage], arms: Sequence[Arm], *, tokens: int = 40_000
) -> tuple[list[Arm], list[Tuned]]:
    """Choose settings for the adaptations of arms, each by itself beside the life of the memory.

    An adaptation that several arms share is tuned once; an arm with nothing to tune stays. The
    texts are validation texts, of which `tokens` tokens are read for each point of a grid. Returns
    the arms with the settings that were best, and the grids.
    """
    require(tokens >= 1, "tune_tokens must be at least 1")
    cut = []
    for text in texts:
        cut.append(replace(text, tokens=text.tokens[: tokens + 1]))
        tokens -= len(cut[-1].tokens) - 1
    require(any(len(text.tokens) > 1 for text in cut), "there is no validation text to tune on")
    found: dict[Arm, Tuned] = {}
    chosen = []
    for arm in arms:
        for part in arm.parts:
            if part.axes:
                alone = Arm.of(arm.memory, part)
                if alone not in found:
                    found[alone] = _try(evaluator, cut, alone, part)
                arm = arm.changed(found[alone].best.settings)
        chosen.append(arm)
    return chosen, list(found.values())


def _try(evaluator: Evaluator, texts: Sequence[Passage], arm: Arm, part: Adaptation) -> Tuned:
    """Every point of a grid: in one pass if that can be, else each in its own."""
    points, sweep, show = part.grid(), part.sweep(), evaluator.progress.message
    if sweep:
        show(f"tuning {arm}: {len(points)} points in one pass")
        evaluator.read(Arm.of(arm.memory), texts, sweep)
        nats = sweep.nats
    else:
        nats = []
        for i, point in enumerate(points, 1):
            about = ", ".join(f"{axis} {getattr(point, axis):g}" for axis in point.axes)
            show(f"tuning {arm}: {i}/{len(points)}, {about}")
            scores = evaluator.read(arm.changed(point), texts)
            nats.append(float(Score.total(scores).token_nats.mean()))
    tuned = Tuned(arm.memory.name, tuple(map(Trial, points, nats)))
    best = ", ".join(f"{k} {v:g}" for k, v in to_dict(tuned.best.settings).items())
    show(f"chosen: {best} ({tuned.best.nats:.4f} nats per token)")
    return tuned
