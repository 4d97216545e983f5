"""How far a table memory's gate trusts the model, and each kind of context, through a text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.lm.evaluation.adaptations import CarriedMemory, NoTables
from sparsemeta.lm.evaluation.arms import Arm
from sparsemeta.lm.evaluation.evaluator import Evaluator
from sparsemeta.lm.scores import Passage, Score
from sparsemeta.nn import TableMemory, watch_gate
from sparsemeta.plotting import drawn

WINDOW = 200
"""Tokens that a plot takes the mean over, or a tenth of the text if that is short."""
POINTS = 1000
"""Most points of a curve."""


@dataclass(frozen=True, eq=False)
class GateTrace:
    """What a gate did while a model read, its memory carried."""

    heads: tuple[str, ...]
    """The contexts of the tables, from the shortest to the longest."""
    weights: np.ndarray
    """(tokens, 1 + heads), of the model and of each head in the prediction of each token."""
    alone: np.ndarray
    """(tokens,), the nats of each token without the tables, other memories on."""
    mixed: np.ndarray
    """(tokens,), the nats of each token."""

    @property
    def means(self) -> dict[str, float]:
        """The mean weight of the model and of each head."""
        names = ("model", *self.heads)
        return dict(zip(names, self.weights.mean(0, dtype=np.float64).tolist(), strict=True))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON: means over all tokens."""
        alone, mixed = (float(x.mean(dtype=np.float64)) for x in (self.alone, self.mixed))
        return {"weights": self.means, "nats_alone": alone, "nats": mixed}

    def __str__(self) -> str:
        model, *heads = self.means.items()
        most = sorted(heads, key=lambda head: -head[1])[:3]
        named = ", ".join(f"{name} {share:.0%}" for name, share in most)
        found = self.to_dict()
        return (
            f"gate: {model[1]:.0%} of predictions is the model; most of the rest, {named}; "
            f"{found['nats']:.3f} nats per token, {found['nats_alone']:.3f} without tables"
        )

    def plot(self, path: str | Path) -> None:
        """Draw the weights, stacked, by position in the text, and beside them the loss."""
        width = min(WINDOW, max(1, len(self.mixed) // 10))
        position, weights = _smooth(self.weights, width)
        with drawn(path, "lm", size=(14, 5), panels=2) as (left, right):
            names, weights = _grouped(self.heads, weights)
            shades = "#d9d9d9", *_shades(len(names) - 1)
            left.stackplot(position, weights.T, labels=names, colors=shades, linewidth=0)
            left.set(ylim=(0, 1), ylabel="weight in the prediction", title="Whom the gate trusts")
            handles, labels = left.get_legend_handles_labels()
            outside = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
            left.legend(handles[::-1], labels[::-1], frameon=False, fontsize="x-small", **outside)
            for label, nats, color in (
                ("without tables", self.alone, "tab:gray"),
                ("with tables", self.mixed, "tab:blue"),
            ):
                mean = f"{label}: {nats.mean(dtype=np.float64):.3f}"
                right.plot(*_smooth(nats, width), label=mean, color=color, linewidth=1)
            right.set(ylabel="loss, in nats per token", title="What it brings")
            right.legend(frameon=False, fontsize="small")
            across = f"position in the text, in tokens; mean over {width}"
            for axes in (left, right):
                axes.set_xlabel(across)
                axes.margins(x=0)
                axes.xaxis.set_major_formatter("{x:,.0f}")


def gate_of(model: Any) -> TableMemory:
    """A model's table memory, which has the gate.

    Raises:
        ConfigError: it has none.
    """
    for layer in model.modules():
        if isinstance(layer, TableMemory):
            return layer
    raise ConfigError(
        "this model has no table memory, and so no gate to look at. Train one with "
        'model.output = ["tables"].'
    )


def trace_gate(evaluator: Evaluator, texts: Sequence[Passage]) -> GateTrace:
    """Let a model read texts, its memory carried: with its tables, watched, and without."""
    tables, carried = gate_of(evaluator.model), CarriedMemory()
    with watch_gate(tables) as seen:
        mixed = Score.total(evaluator.read(Arm.of(carried), texts))
    alone = Score.total(evaluator.read(Arm.of(carried, NoTables()), texts))
    # What came before is of no text, and the last token of a text predicts none of it.
    read = [len(text.tokens) for text in texts]
    weights = torch.cat(seen, 1)[0][-sum(read) :].split(read)
    kept = torch.cat([part[:-1] for part in weights]).numpy()
    return GateTrace(tuple(tables.heads.names), kept, alone.token_nats, mixed.token_nats)


def _smooth(values: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Running means (n, ...) of values (tokens, ...) over so many; the middle (n,) of each."""
    sums = np.cumsum(values, 0, dtype=np.float64)
    sums = np.concatenate([np.zeros_like(sums[:1]), sums])
    means = (sums[width:] - sums[:-width]) / width
    chosen = np.arange(0, len(means), max(1, len(means) // POINTS))
    return chosen + (width + 1) / 2, means[chosen]


def _grouped(heads: Sequence[str], weights: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The model and the contexts, with the weights (n, groups) of all heads that have each.

    What a head keeps stands after a comma in its name.
    """
    contexts = ["model", *(name.partition(",")[0] for name in heads)]
    names = list(dict.fromkeys(contexts))
    return names, weights @ np.array([[name == group for group in names] for name in contexts])


def _shades(count: int) -> list[tuple[float, ...]]:
    """A color for each head, from light to dark."""
    from matplotlib import colormaps

    return [colormaps["viridis"](0.95 - 0.9 * i / max(1, count - 1)) for i in range(count)]
