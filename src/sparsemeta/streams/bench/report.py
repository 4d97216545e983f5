"""What was measured, as a table for people."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from rich.table import Table

from sparsemeta.config import to_dict
from sparsemeta.streams.bench.benchmark import Benchmark
from sparsemeta.streams.bench.contenders import dense

Seeds = Sequence[Mapping[str, Mapping[str, Any]]]
"""For each seed what was measured, by contender."""


@dataclass(frozen=True)
class Findings:
    """What a benchmark found."""

    benchmark: Benchmark
    seeds: Seeds

    @property
    def conditions(self) -> list[str]:
        """What was tested."""
        return list(next(iter(self.seeds[0].values()))["scores"])

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        bench = self.benchmark
        return {
            "task": bench.name,
            "headline": bench.headline,
            "streams": bench.streams,
            "training": to_dict(bench.training),
            "seeds": self.seeds,
        }


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
        row += [metric.show(scores(seeds, name, condition)) for condition in found.conditions]
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
    bench, seeds = found.benchmark, found.seeds
    metric = bench.metric
    lines = [
        f"{metric.unit} on streams that nothing was trained or chosen on, mean ± standard "
        f"deviation over {counted(seeds)}",
        "chosen, on validation streams: the strength of a write, or of lda the shrinkage; own: as "
        "the model learned to write",
    ]
    if metric.near is not None:
        lines.append(
            f"tolerance: decades of write strength within {metric.factor * metric.near:g} points "
            f"of the best, at {bench.headline}"
        )
    rivals = [name for name, form in bench.forms.items() if dense(form) and name in seeds[0]]
    for condition in found.conditions if rivals and "sparse" in seeds[0] else ():
        means = [mean(scores(seeds, name, condition)) for name in rivals]
        rival = rivals[metric.best(means)]
        both = (scores(seeds, name, condition) for name in ("sparse", rival))
        gains = [ours - theirs for ours, theirs in zip(*both, strict=True)]
        lines.append(
            f"{condition}: sparse less {rival}, the best dense control: "
            f"{metric.show(gains, sign=True)}"
        )
    return "\n".join(lines)


def counted(seeds: Seeds) -> str:
    """How many seeds, in words."""
    return f"{len(seeds)} {'seed' if len(seeds) == 1 else 'seeds'}"


def scores(seeds: Seeds, name: str, condition: str) -> list[float]:
    """What a contender scored with each seed."""
    return [seed[name]["scores"][condition] for seed in seeds]


def chosen(seen: Mapping[str, Any]) -> str:
    """The setting that a contender was tested with; its own if it learned how to write."""
    if seen["setting"] is None:
        return "own" if seen["sweep"] else ""
    return f"{seen['setting']:g}"


def sweep(seeds: Seeds, name: str) -> list[tuple[float, float]]:
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
