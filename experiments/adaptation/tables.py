"""The tables of results.md from what `sparsemeta bench TASK --json TASK.json` wrote beside them."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sparsemeta.streams import ACCURACY, SQUARED_ERROR, Metric
from sparsemeta.streams.bench import chosen, sweep, tolerance

HERE = Path(__file__).parent
FILES = "rebinding", "omniglot", "omniglot-rows", "sine", "digits", "digits-rows"
OURS = "sparse", "sparse-equal", "rows"


def main() -> None:
    """Write results.md."""
    parts = ["# Results\n\nWritten by `tables.py`; the pages beside it say what was asked.\n"]
    for name in FILES:
        file = HERE / f"{name}.json"
        if file.exists():
            data = json.loads(file.read_text(encoding="utf-8"))
            parts.append("\n".join(_section(name, data)))
    (HERE / "results.md").write_text("\n".join(parts), encoding="utf-8")


def _section(name: str, data: Mapping[str, Any]) -> Iterator[str]:
    seeds, metric = data["seeds"], SQUARED_ERROR if data["task"] == "sine" else ACCURACY
    first = next(iter(seeds[0].values()))
    yield f"## {name}\n"
    yield f"{metric.unit}; mean ± standard deviation over {len(seeds)} seeds\n"
    yield from _header("", "remembers with", *first["scores"], "learning rate, first strength")
    for name, seen in seeds[0].items():
        scores = [
            metric.show([seed[name]["scores"][condition] for seed in seeds])
            for condition in first["scores"]
        ]
        pair = [f"{seen[key]:g}" for key in ("learning_rate", "first_strength") if key in seen]
        yield _row(name, seen["what"], *scores, ", ".join(pair))
    yield from _differences(seeds, metric)
    yield from _costs(data)
    yield from _sweeps(data, metric)


def _differences(seeds: list[dict], metric: Metric) -> Iterator[str]:
    """Each of the library's memories less each of the others, seed by seed."""
    ours = [name for name in OURS if name in seeds[0]]
    for condition in next(iter(seeds[0].values()))["scores"]:
        yield f"\n{condition}, difference on the same seeds:\n"
        yield from _header("", *(f"{name} less it" for name in ours))
        for other in seeds[0]:
            gains = [
                [s[name]["scores"][condition] - s[other]["scores"][condition] for s in seeds]
                for name in ours
            ]
            yield _row(other, *(metric.show(gain, sign=True) for gain in gains))


def _costs(data: Mapping[str, Any]) -> Iterator[str]:
    seeds = data["seeds"]
    yield f"\n{data['headline']}: microseconds of CPU per step, and what a stream carries:\n"
    yield from _header("", "us / step", "KiB", "chosen on validation")
    for name, seen in seeds[0].items():
        size = "" if seen["state_bytes"] is None else f"{seen['state_bytes'] / 1024:,.1f}"
        micro = ACCURACY.show([seed[name]["microseconds"] / 100 for seed in seeds])
        settings = dict.fromkeys(chosen(seed[name]) for seed in seeds)
        yield _row(name, micro, size, ", ".join(settings))


def _sweeps(data: Mapping[str, Any], metric: Metric) -> Iterator[str]:
    """The mean score at every write strength that was held."""
    curves = {name: sweep(data["seeds"], name) for name in data["seeds"][0]}
    curves = {name: points for name, points in curves.items() if points}
    grid = sorted({strength for points in curves.values() for strength, _ in points})
    if not grid:
        return
    yield f"\n{data['headline']}, at a write strength that is held:\n"
    wide = ["decades within 5 points"] if metric.near else []
    yield from _header("", *(f"{strength:g}" for strength in grid), *wide)
    for name, points in curves.items():
        found = dict(points)
        cells = [metric.show([found[at]]) if at in found else "" for at in grid]
        yield _row(
            name, *cells, *([f"{tolerance(points, metric.near):.1f}"] if metric.near else [])
        )
    yield ""


def _header(*cells: str) -> Iterator[str]:
    yield _row(*cells)
    yield _row(*("---" for _ in cells))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
