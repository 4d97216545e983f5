"""What was measured: as a table for people, and as one figure."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from rich.table import Table

from sparsemeta.config import to_dict
from sparsemeta.plotting import drawn
from sparsemeta.streams.bench.benchmark import Benchmark, Curve
from sparsemeta.streams.bench.contenders import untrained

Seeds = Sequence[Mapping[str, Mapping[str, Any]]]  # for each seed what was measured, by contender
Points = list[tuple[float, float]]
Lines = dict[str, Points]  # points by contender


@dataclass(frozen=True)
class Findings:
    """What a benchmark found."""

    benchmark: Benchmark
    seeds: Seeds

    @property
    def conditions(self) -> list[str]:
        """What was tested."""
        return list(next(iter(self.seeds[0].values()))["scores"])

    @property
    def counted(self) -> str:
        """How many seeds, in words."""
        return f"{len(self.seeds)} {'seed' if len(self.seeds) == 1 else 'seeds'}"

    def scores(self, name: str, condition: str) -> list[float]:
        """What a contender scored with each seed."""
        return [seed[name]["scores"][condition] for seed in self.seeds]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        bench = self.benchmark
        about = {"task": bench.name, "headline": bench.headline, "streams": bench.streams}
        return {**about, "training": to_dict(bench.training), "seeds": self.seeds}


def table(found: Findings) -> Table:
    """A row for each contender: its scores, and what it costs."""
    metric, seeds = found.benchmark.metric, found.seeds
    result = Table(box=None, header_style="bold", padding=(0, 1))
    result.add_column("contender", no_wrap=True)
    result.add_column("remembers with")
    wide = [] if metric.near is None else ["tolerance"]
    for heading in (*found.conditions, "chosen", *wide, "us/step", "state"):
        result.add_column(heading, justify="right")
    for name, seen in seeds[0].items():
        row = [name, seen["what"]]
        row += [metric.show(found.scores(name, condition)) for condition in found.conditions]
        row.append(", ".join(dict.fromkeys(chosen(seed[name]) for seed in seeds)))
        if metric.near is not None:
            swept = len(seen["sweep"]) > 1
            row.append(f"{tolerance(sweep(seeds, name), metric.near):.1f}" if swept else "")
        row.append(f"{mean(seed[name]['microseconds'] for seed in seeds):.0f}")
        size = seen["state_bytes"]
        result.add_row(*row, "" if size is None else f"{size / 1024:,.1f} KiB")
    return result


def summary(found: Findings) -> str:
    """How the table is to be read, and sparse against the best dense control of each condition."""
    bench, metric, there = found.benchmark, found.benchmark.metric, found.seeds[0]
    lines = [
        f"{metric.unit} on streams that nothing was trained or chosen on, mean ± standard "
        f"deviation over {found.counted}",
        "chosen, on validation streams: the strength of a write, or of lda the shrinkage; own: as "
        "the model learned to write",
    ]
    if metric.near is not None:
        lines.append(
            f"tolerance: decades of write strength within {metric.factor * metric.near:g} points "
            f"of the best, at {bench.headline}"
        )
    rivals = [name for name, form in bench.forms.items() if form.dense and name in there]
    for condition in found.conditions if rivals and "sparse" in there else ():
        theirs = [found.scores(name, condition) for name in rivals]
        best = metric.best([mean(scores) for scores in theirs])
        ours = found.scores("sparse", condition)
        gains = [our - their for our, their in zip(ours, theirs[best], strict=True)]
        gain = metric.show(gains, sign=True)
        lines.append(f"{condition}: sparse less {rivals[best]}, the best dense control: {gain}")
    return "\n".join(lines)


def chosen(seen: Mapping[str, Any]) -> str:
    """The setting that a contender was tested with; its own if it learned how to write."""
    if seen["setting"] is None:
        return "own" if seen["sweep"] else ""
    return f"{seen['setting']:g}"


def sweep(seeds: Seeds, name: str) -> Points:
    """The mean score over seeds at each write strength that was held."""
    grid = [strength for strength, _ in seeds[0][name]["sweep"] if strength is not None]
    found = [dict(map(tuple, seed[name]["sweep"])) for seed in seeds]
    return [(strength, mean(seed[strength] for seed in found)) for strength in grid]


def tolerance(points: Sequence[tuple[float, float]], near: float) -> float:
    """How many decades of write strength around the best one lose no more accuracy than that."""
    found = [score for _, score in points]
    low = high = found.index(max(found))
    enough = found[low] - near
    while low > 0 and found[low - 1] >= enough:
        low -= 1
    while high + 1 < len(found) and found[high + 1] >= enough:
        high += 1
    return math.log10(points[high][0] / points[low][0])


def plot(found: Findings, path: str | Path) -> None:
    """Draw means over seeds, a panel per curve of several points, to one of `plotting.FORMATS`."""
    bench, shown = found.benchmark, panels(found)
    style = {name: contender.style for name, contender in untrained(bench).items()}
    for place, (name, form) in enumerate(bench.forms.items()):
        style[name] = {"color": f"C{place}", "linewidth": 2.5 if form.bold else 1.5}
    count = max(1, len(shown))
    with drawn(path, "tasks", size=(5 * count, 5), panels=count) as panel_axes:
        figure, labelled = panel_axes[0].figure, {}
        figure.suptitle(f"{bench.headline}, mean over {found.counted}")
        for axes, (title, (scale, lines)) in zip(panel_axes, shown.items(), strict=False):
            for name, points in lines.items():
                x, y = zip(*points, strict=True)
                labelled[name] = axes.plot(x, y, label=name, marker="o", ms=3, **style[name])[0]
            metric = bench.metric
            axes.set(xlabel=title, ylabel=metric.name, xscale=scale, yscale=metric.scale)
        legend = labelled.values(), list(labelled)
        figure.legend(*legend, loc="outside right center", frameon=False)


def panels(found: Findings) -> dict[str, tuple[str, Lines]]:
    """By what is on its axis, each panel's scale, and its lines of more than one point."""
    seeds, curves = found.seeds, found.benchmark.curves
    every = [(c.axis, c.scale, {name: _mean(seeds, name, c) for name in seeds[0]}) for c in curves]
    every.append(("write strength, held", "log", {name: sweep(seeds, name) for name in seeds[0]}))
    several = {
        axis: (scale, {name: points for name, points in lines.items() if len(points) > 1})
        for axis, scale, lines in every
    }
    return {axis: (scale, lines) for axis, (scale, lines) in several.items() if lines}


def _mean(seeds: Seeds, name: str, curve: Curve) -> Points:
    """The mean over the seeds that have a point there."""
    found = defaultdict(list)
    for seed in seeds:
        for x, score in seed[name][curve.name]:
            found[x].append(score)
    return [(x, mean(each)) for x, each in sorted(found.items())]
