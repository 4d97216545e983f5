"""The settings of an arm's adaptations, chosen on validation text."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table

from sparsemeta.config import to_dict
from sparsemeta.errors import require
from sparsemeta.lm.evaluation.adaptations import Adaptation
from sparsemeta.lm.evaluation.arms import Arm
from sparsemeta.lm.evaluation.evaluator import Evaluator
from sparsemeta.lm.scores import Passage, Score, finite


@dataclass(frozen=True)
class Trial:
    """One point of a grid."""

    settings: Adaptation
    nats: float
    """Per token of the validation text."""


@dataclass(frozen=True)
class Tuned:
    """A grid, and what was chosen from it."""

    memory: str
    """The arm's life of the memory: each has a choice of its own."""
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

    An adaptation that several arms share is tuned once.

    Args:
        evaluator: the model.
        texts: validation texts; never those that will be scored.
        arms: what to tune; an arm with nothing to tune stays as it is.
        tokens: how many of the texts' tokens are read for each point of a grid, from their start.

    Returns:
        The arms with the settings that were best, and the grids.

    Raises:
        ConfigError: there is no token to tune on.
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
