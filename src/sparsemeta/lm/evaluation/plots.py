"""One figure: loss against position, and what was gained on which words."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsemeta.lm.evaluation.arms import all_arms
from sparsemeta.lm.evaluation.report import reference
from sparsemeta.lm.evaluation.words import Gain
from sparsemeta.lm.scores import Reading, Score
from sparsemeta.plotting import drawn

_PALETTE = (
    "#7f7f7f", "#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#8c564b", "#e377c2", "#ff7f0e",
    "#17becf", "#bcbd22",
)  # fmt: skip
_COLORS = dict(zip(all_arms(True), itertools.cycle(_PALETTE), strict=False))


def plot(readings: Mapping[str, Reading], found: Sequence[Gain], path: str | Path) -> None:
    """Draw nats per token against the position in the text, and nats gained per class of words.

    Args:
        readings: by label, which goes into the legend with the total perplexity.
        found: a panel for each; the gain is over the reference. One reading has none.
        path: a file that ends in one of `plotting.FORMATS`.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    found = found if len(readings) > 1 else ()
    panels = 1 + len(found)
    with drawn(path, "lm", size=(2 + 6 * panels, 4.5), panels=panels) as (first, *others):
        _draw_loss(first, readings)
        for axes, gain in zip(others, found, strict=True):
            _draw_gain(axes, gain, readings)
        for axes in (first, *others):
            axes.legend(frameon=False, fontsize="small")


def loss_curve(
    texts: Sequence[Score], *, first: int = 32, ratio: float = 2**0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss in bins of position that widen by a constant ratio, all texts together.

    Args:
        texts: scores with `token_nats`.
        first: tokens in the first bin; earlier positions are too few to average.
        ratio: of the ends of successive bins.

    Returns:
        Mean position, counted from 1, and nats per token, of the bins that hold any token.
    """
    nats = np.concatenate([text.token_nats for text in texts], dtype=np.float64)
    position = np.concatenate([np.arange(1, text.tokens + 1) for text in texts])
    bins = np.ceil(np.log(np.maximum(position / first, 1)) / np.log(ratio)).astype(int)
    count = np.bincount(bins)
    full = count > 0
    means = [np.bincount(bins, of)[full] / count[full] for of in (position, nats)]
    return means[0], means[1]


def _draw_loss(axes: Any, readings: Mapping[str, Reading]) -> None:
    for label, reading in readings.items():
        position, nats = loss_curve(reading.texts)
        legend = f"{label}: perplexity {reading.total.perplexity:,.2f}"
        axes.plot(position, nats, label=legend, **_style(label, reading))
    count = len(next(iter(readings.values())).texts)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("position in the text, in tokens")
    axes.set_ylabel("loss, in nats per token")
    axes.set_title(f"Loss while reading, mean over {count} {'text' if count == 1 else 'texts'}")


def _draw_gain(axes: Any, gain: Gain, readings: Mapping[str, Reading]) -> None:
    base = reference(readings)
    for label, reading in readings.items():
        if label != base:
            saved = gain.nats[base] - gain.nats[label]
            axes.plot(gain.classes, saved, label=label, **_style(label, reading))
    axes.axhline(0, color="#222222", linewidth=0.5)
    ticks = [f"{c}\n{n:,}" for c, n in zip(gain.classes, gain.words, strict=True)]
    axes.set_xticks(range(len(ticks)), ticks, fontsize="small")
    axes.set_xlabel(f"{gain.by}; below, how many words")
    axes.set_ylabel(f"nats per word saved over {base}")
    axes.set_title("Which words gain")


def _style(label: str, reading: Reading) -> dict[str, Any]:
    style: dict[str, Any] = {"marker": "o", "markersize": 3}
    if label != reading.arm:  # another model
        return style | {"linestyle": "--"}
    return style | ({"color": _COLORS[label]} if label in _COLORS else {})
