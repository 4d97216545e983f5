"""One figure of a benchmark: the curves of its headline, and the sweep of write strengths."""

from collections import defaultdict
from pathlib import Path
from statistics import mean

from sparsemeta.plotting import require_plotting
from sparsemeta.streams.bench.contenders import styles
from sparsemeta.streams.bench.curves import Curve
from sparsemeta.streams.bench.report import Findings, Seeds, counted, sweep

Lines = dict[str, list[tuple[float, float]]]
"""Points by contender."""


def plot(found: Findings, path: str | Path) -> None:
    """Draw means over seeds, a panel for each curve that has more than one point.

    Args:
        found: as `run` gives it.
        path: a file that ends in one of `plotting.FORMATS`.
    """
    require_plotting(Path(path), "tasks")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    bench, shown, style = found.benchmark, panels(found), styles(found.benchmark)
    figure = Figure(figsize=(5 * max(1, len(shown)), 5), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"{bench.headline}, mean over {counted(found.seeds)}")
    for place, (title, (scale, lines)) in enumerate(shown.items(), 1):
        axes = figure.add_subplot(1, len(shown), place)
        for name, points in lines.items():
            axes.plot(*zip(*points, strict=True), label=name, marker="o", ms=3, **style[name])
        axes.set(xlabel=title, ylabel=bench.metric.name, xscale=scale, yscale=bench.metric.scale)
        axes.grid(alpha=0.3, linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    drawn = {str(line.get_label()): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(list(drawn.values()), list(drawn), loc="outside right center", frameon=False)
    figure.savefig(path, dpi=150)


def panels(found: Findings) -> dict[str, tuple[str, Lines]]:
    """By what is on its axis, each panel's scale, and its lines of more than one point."""
    seeds = found.seeds
    curves = {
        curve.axis: (curve.scale, {name: _mean(seeds, name, curve) for name in seeds[0]})
        for curve in found.benchmark.curves
    }
    curves["write strength, held"] = "log", {name: sweep(seeds, name) for name in seeds[0]}
    several = {
        axis: (scale, {name: points for name, points in lines.items() if len(points) > 1})
        for axis, (scale, lines) in curves.items()
    }
    return {axis: (scale, lines) for axis, (scale, lines) in several.items() if lines}


def _mean(seeds: Seeds, name: str, curve: Curve) -> list[tuple[float, float]]:
    """The mean over the seeds that have a point there."""
    found = defaultdict(list)
    for seed in seeds:
        for x, score in seed[name][curve.name]:
            found[x].append(score)
    return [(x, mean(each)) for x, each in sorted(found.items())]
