"""Readings side by side: as a table for people, and as plain data for programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from sparsemeta.lm.scores import Reading, Score, finite

BASELINE = "baseline"
"""The label of a second model's static reading."""

FEW = 12
"""Up to this many texts get rows of their own."""


def reference(readings: Mapping[str, Reading]) -> str:
    """The label that the others are compared with: `baseline`, else `static`, else the first."""
    return next(label for label in (BASELINE, "static", *readings) if label in readings)


def to_dict(readings: Mapping[str, Reading]) -> dict[str, Any]:
    """All that was measured, ready for JSON.

    Args:
        readings: by label: the arm, or `baseline`.

    Returns:
        `reference` and `arms`: per label the context policy, the total, its perplexity and cost as
        ratios to the reference, and each text.
    """
    base = readings[reference(readings)].total
    arms = {}
    for label, reading in readings.items():
        total = reading.total
        arms[label] = {
            "arm": reading.arm,
            "context": reading.policy,
            "relative_perplexity": finite(_ratio(total.perplexity, base.perplexity)),
            "relative_cost": finite(_ratio(total.seconds, base.seconds)),
            "total": total.to_dict(),
            "texts": [text.to_dict() for text in reading.texts],
        }
    return {"reference": reference(readings), "arms": arms}


def table(readings: Mapping[str, Reading]) -> Table:
    """A row for each text and label if the texts are few, and the totals."""
    base = reference(readings)
    result = Table(box=None, header_style="bold", padding=(0, 1))
    result.add_column("text", overflow="fold")
    result.add_column("arm")
    for heading in ("nats", "bits/byte", "perplexity", f"vs {base}", "tokens/s", "cost", "state"):
        result.add_column(heading, justify="right", no_wrap=True)

    def add(scores: dict[str, Score]) -> None:
        for label, score in scores.items():
            first = label == next(iter(scores))
            result.add_row(score.name if first else "", label, *_cells(score, scores[base]))
        result.add_section()
        result.add_row()

    count = len(readings[base].texts)
    for i in range(count if 1 < count <= FEW else 0):
        add({label: reading.texts[i] for label, reading in readings.items()})
    add({label: reading.total for label, reading in readings.items()})
    return result


def summary(readings: Mapping[str, Reading]) -> str:
    """What was read, and what each reading could draw on."""
    reading = readings[reference(readings)]
    total, count = reading.total, len(reading.texts)
    lines = [
        f"{count} {'text' if count == 1 else 'texts'}: {total.tokens:,} tokens, "
        f"{total.words:,} words ({total.words_eos:,} with ends of lines), {total.bytes:,} bytes"
    ]
    return "\n".join(lines + [f"{label}: {r.policy}" for label, r in readings.items()])


def _cells(score: Score, base: Score) -> tuple[str, ...]:
    return (
        f"{score.nats:,.0f}",
        f"{score.bits_per_byte:.3f}",
        f"{score.perplexity:,.2f}",
        f"{_ratio(score.perplexity, base.perplexity) - 1:+.1%}",
        f"{score.tokens_per_second:,.0f}",
        f"{_ratio(score.seconds, base.seconds):.2f}x",
        f"{score.state_bytes / 2**20:.2f} MiB",
    )


def _ratio(value: float, base: float) -> float:
    return value / base if base else float("nan")
