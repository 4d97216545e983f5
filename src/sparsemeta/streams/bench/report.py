"""What was measured, as a table for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from rich.table import Table

DENSE = ("linear", "sign", "centred-relu", "soft-threshold")

Found = Sequence[Mapping[str, Mapping[str, Any]]]
"""For each seed what was measured, by contender."""


def table(found: Found, *, labels: bool) -> Table:
    """A row for each contender: its scores, and what it costs.

    Args:
        found: by seed and contender.
        labels: whether scores are accuracies, to be shown in percent, or errors.
    """
    first = next(iter(found[0].values()))
    result = Table(box=None, header_style="bold", padding=(0, 1))
    result.add_column("contender", no_wrap=True)
    result.add_column("remembers with")
    headings = [*first["scores"], "chosen", *(["tolerance"] if labels else [])]
    for heading in (*headings, "us/step", "state"):
        result.add_column(heading, justify="right")
    for name, seen in found[0].items():
        every = [seed[name] for seed in found]
        scores = [
            spread([one["scores"][condition] for one in every], labels=labels)
            for condition in first["scores"]
        ]
        chosen = ", ".join(dict.fromkeys(_setting(one) for one in every))
        row = [name, seen["what"], *scores, chosen]
        if labels:
            row.append(f"{tolerance(sweep(found, name)):.1f}" if len(seen["sweep"]) > 1 else "")
        size = seen["state_bytes"]
        row.append(f"{mean(one['microseconds'] for one in every):.0f}")
        result.add_row(*row, "" if size is None else f"{size / 1024:,.1f} KiB")
    return result


def summary(found: Found, headline: str, *, labels: bool) -> str:
    """How the table is to be read, and sparse against the best dense control of each condition."""
    seeds = f"{len(found)} {'seed' if len(found) == 1 else 'seeds'}"
    what = "accuracy in percent" if labels else "mean squared error"
    lines = [
        f"{what} on streams that nothing was trained or chosen on, mean ± standard deviation over "
        f"{seeds}",
        "chosen, on validation streams: the strength of a write, or of lda the shrinkage; own: as "
        "the model learned to write",
    ]
    if labels:
        lines.append(
            f"tolerance: decades of write strength within 5 points of the best, at {headline}"
        )
    for condition in found[0]["sparse"]["scores"] if "sparse" in found[0] else ():
        dense = [name for name in DENSE if name in found[0]]
        if dense:
            sign = 1 if labels else -1
            scores = {
                name: [seed[name]["scores"][condition] for seed in found]
                for name in ("sparse", *dense)
            }
            rival = max(dense, key=lambda name: sign * mean(scores[name]))
            gains = [a - b for a, b in zip(scores["sparse"], scores[rival], strict=True)]
            lines.append(
                f"{condition}: sparse less {rival}, the best dense control: "
                f"{spread(gains, labels=labels, sign=True)}"
            )
    return "\n".join(lines)


def sweep(found: Found, name: str) -> list[tuple[float, float]]:
    """The mean score over seeds at each write strength that was held."""
    grid = [strength for strength, _ in found[0][name]["sweep"] if strength is not None]
    scores = [dict(map(tuple, seed[name]["sweep"])) for seed in found]
    return [(strength, mean(seed[strength] for seed in scores)) for strength in grid]


def tolerance(points: Sequence[tuple[float, float]], within: float = 0.05) -> float:
    """How many decades of write strength around the best one lose no more accuracy than that."""
    scores = [score for _, score in points]
    low = high = scores.index(max(scores))
    enough = scores[low] - within
    while low > 0 and scores[low - 1] >= enough:
        low -= 1
    while high + 1 < len(scores) and scores[high + 1] >= enough:
        high += 1
    return math.log10(points[high][0] / points[low][0])


def spread(values: Sequence[float], *, labels: bool, sign: bool = False) -> str:
    """Mean and standard deviation, which one value has none of."""
    scale, digits = (100, 1) if labels else (1, 3)
    form = f"{'+' if sign else ''}.{digits}f"
    text = format(scale * mean(values), form)
    return f"{text} ± {scale * stdev(values):.{digits}f}" if len(values) > 1 else text


def _setting(seen: Mapping[str, Any]) -> str:
    if seen["setting"] is None:
        return "own" if seen["sweep"] else ""
    return f"{seen['setting']:g}"
