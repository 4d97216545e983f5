"""One figure of a benchmark: recovery after a switch, retention by age, write strength."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import mean
from typing import Any

from sparsemeta.config import require
from sparsemeta.errors import MissingExtra
from sparsemeta.tasks.bench.report import Found, sweep

FORMATS = (".png", ".pdf", ".svg")

_STYLES: dict[str, dict[str, Any]] = {
    "sparse": {"color": "#d62728", "linewidth": 2.5},
    "sparse-equal": {"color": "#ff7f0e", "linewidth": 2.5},
    "last-label": {"color": "#222222", "linestyle": ":"},
    "filter": {"color": "#222222", "linestyle": ":"},
    "prototypes": {"color": "#222222", "linestyle": "--"},
}


def require_plotting(path: Path) -> None:
    """Check before hours of training that a plot can be drawn after them.

    Raises:
        MissingExtra: matplotlib is not installed.
        ConfigError: the file name does not end like a picture.
    """
    require(
        path.suffix in FORMATS, f"{path}: a plot's name ends in {', '.join(FORMATS)}. Rename it."
    )
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("matplotlib", "tasks") from None


def plot(found: Found, headline: str, path: str | Path, *, labels: bool) -> None:
    """Draw means over seeds, a panel for each curve that the task has.

    Args:
        found: by seed and contender, as `sparsemeta.tasks.bench.running.run` gives it.
        headline: the condition that the curves are of.
        path: a file that ends in one of `FORMATS`.
        labels: whether scores are accuracies or errors.
    """
    require_plotting(Path(path))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(found[0])
    panels = {
        "lessons since the switch": {name: _mean_curve(found, name, "recovery") for name in names},
        "steps since the last lesson": {
            name: _mean_curve(found, name, "retention") for name in names
        },
        "write strength, held": {
            name: sweep(found, name) for name in names if found[0][name]["sweep"]
        },
    }
    drawn = {
        title: curves
        for title, curves in panels.items()
        if max(map(len, curves.values()), default=0) > 1
    }
    figure = Figure(figsize=(5 * max(1, len(drawn)), 5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{headline}, mean over {len(found)} seeds")
    for axes, (title, curves) in zip(
        figure.subplots(1, max(1, len(drawn)), squeeze=False)[0], drawn.items(), strict=False
    ):
        for name, points in curves.items():
            axes.plot(
                *zip(*points, strict=True), label=name, marker="o", markersize=3, **_style(name)
            )
        axes.set_xlabel(title)
        axes.set_ylabel("accuracy" if labels else "mean squared error")
        if title != "lessons since the switch":
            axes.set_xscale("log")
        if not labels:
            axes.set_yscale("log")
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)


def _mean_curve(found: Found, name: str, curve: str) -> list[tuple[float, float]]:
    """The mean over the seeds that have a point there."""
    scores = defaultdict(list)
    for seed in found:
        for x, score in seed[name][curve]:
            scores[x].append(score)
    return [(x, mean(values)) for x, values in sorted(scores.items())]


def _style(name: str) -> dict[str, Any]:
    return _STYLES.get(name, {})
