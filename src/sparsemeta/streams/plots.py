"""One figure of a benchmark: recovery after a switch, retention by age, write strength."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from sparsemeta.plotting import require_plotting
from sparsemeta.streams.bench.report import Found, sweep

SWITCH = "lessons since the switch"

_STYLES: dict[str, dict[str, Any]] = {
    "sparse": {"color": "#d62728", "linewidth": 2.5},
    "sparse-equal": {"color": "#ff7f0e", "linewidth": 2.5},
    "positive": {"color": "#ff7f0e"},
    "linear": {"color": "#1f77b4"},
    "sign": {"color": "#006d2c"},
    "centred-relu": {"color": "#2ca02c"},
    "soft-threshold": {"color": "#9467bd"},
    "additive": {"color": "#8c564b"},
    "lstm": {"color": "#e377c2"},
    "lda": {"color": "#17becf"},
    "sgd": {"color": "#bcbd22"},
    "last-label": {"color": "#222222", "linestyle": ":"},
    "filter": {"color": "#222222", "linestyle": ":"},
    "prototypes": {"color": "#222222", "linestyle": "--"},
}


def plot(found: Found, headline: str, path: str | Path, *, labels: bool) -> None:
    """Draw means over seeds, a panel for each curve that the task has.

    Args:
        found: by seed and contender, as `sparsemeta.streams.bench.running.run` gives it.
        headline: the condition that the curves are of.
        path: a file that ends in one of `plotting.FORMATS`.
        labels: whether scores are accuracies or errors.
    """
    require_plotting(Path(path), "tasks")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = {title: curves for title, curves in _panels(found).items() if curves}
    figure = Figure(figsize=(5 * max(1, len(panels)), 5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{headline}, mean over {len(found)} {'seed' if len(found) == 1 else 'seeds'}")
    for place, (title, curves) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(1, len(panels), place)
        for name, points in curves.items():
            x, y = zip(*points, strict=True)
            axes.plot(x, y, label=name, marker="o", markersize=3, **_STYLES[name])
        axes.set_xlabel(title)
        axes.set_ylabel("accuracy" if labels else "mean squared error")
        axes.set_xscale("linear" if title == SWITCH else "log")
        axes.set_yscale("linear" if labels else "log")
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    lines = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(list(lines.values()), list(lines), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)


def _panels(found: Found) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """By what is on its axis, each panel's curves of more than one point, by contender."""
    panels = {
        SWITCH: {name: _mean_curve(found, name, "recovery") for name in found[0]},
        "steps since the last lesson": {
            name: _mean_curve(found, name, "retention") for name in found[0]
        },
        "write strength, held": {name: sweep(found, name) for name in found[0]},
    }
    return {
        title: {name: points for name, points in curves.items() if len(points) > 1}
        for title, curves in panels.items()
    }


def _mean_curve(found: Found, name: str, curve: str) -> list[tuple[float, float]]:
    """The mean over the seeds that have a point there."""
    scores = defaultdict(list)
    for seed in found:
        for x, score in seed[name][curve]:
            scores[x].append(score)
    return [(x, mean(values)) for x, values in sorted(scores.items())]
