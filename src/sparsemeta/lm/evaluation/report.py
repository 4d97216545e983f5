"""Readings side by side: as a table for people, and as plain data for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table

from sparsemeta.lm.evaluation.tuning import Tuned
from sparsemeta.lm.evaluation.words import Gain
from sparsemeta.lm.scores import Reading, Score, finite

LISTED = 12
"""Up to this many texts get rows of their own."""


def reference(readings: Mapping[str, Reading]) -> str:
    """The label that the others are compared with.

    The first other model that was read without memory, else `static`, else the first of all. The
    readings of other models are those whose label is not their arm.
    """
    static = [label for label, reading in readings.items() if reading.arm == "static"]
    return next((label for label in static if label != "static"), [*static, *readings][0])


def to_dict(readings: Mapping[str, Reading], found: Sequence[Gain] = ()) -> dict[str, Any]:
    """All that was measured, ready for JSON.

    Args:
        readings: by label: the arm, or the name of another model.
        found: loss by classes of words.

    Returns:
        `reference`; `arms`: per label the settings, the context policy, the total, its perplexity
        and cost as ratios to the reference, and each text; `words`: nats per word by class.
    """
    base = readings[reference(readings)].total
    arms = {}
    for label, reading in readings.items():
        total = reading.total
        arms[label] = {
            "arm": reading.arm,
            "settings": reading.settings,
            "context": reading.policy,
            "relative_perplexity": finite(_ratio(total.perplexity, base.perplexity)),
            "relative_cost": finite(_ratio(total.seconds, base.seconds)),
            "total": total.to_dict(),
            "texts": [text.to_dict() for text in reading.texts],
        }
    words = [
        {
            "by": gain.by,
            "classes": list(gain.classes),
            "words": gain.words.tolist(),
            "nats_per_word": {
                label: [finite(value) for value in nats.tolist()]
                for label, nats in gain.nats.items()
            },
        }
        for gain in found
    ]
    return {"reference": reference(readings), "arms": arms, "words": words}


def table(readings: Mapping[str, Reading]) -> Table:
    """A row for each text and label if the texts are few, and the totals."""
    base = reference(readings)
    result = Table(box=None, header_style="bold", padding=(0, 1))
    result.add_column("text", overflow="fold")
    result.add_column("arm", no_wrap=True)
    headings = ("nats", "bits/byte", "perplexity", "per word", f"vs {base}", "tokens/s", "cost")
    for heading in (*headings, "state"):
        result.add_column(heading, justify="right")

    def add(scores: dict[str, Score]) -> None:
        for label, score in scores.items():
            first = label == next(iter(scores))
            result.add_row(score.name if first else "", label, *_cells(score, scores[base]))
        result.add_section()
        result.add_row()

    count = len(readings[base].texts)
    for i in range(count if 1 < count <= LISTED else 0):
        add({label: reading.texts[i] for label, reading in readings.items()})
    add({label: reading.total for label, reading in readings.items()})
    return result


def summary(readings: Mapping[str, Reading]) -> str:
    """What was read, and what each reading could draw on."""
    reading = readings[reference(readings)]
    total, count = reading.total, len(reading.texts)
    lines = [
        f"{count} {'text' if count == 1 else 'texts'}: {total.tokens:,} tokens, "
        f"{total.words:,} words ({total.words_eos:,} with ends of lines, which `per word` counts), "
        f"{total.bytes:,} bytes; cost: relative to {reference(readings)}"
    ]
    return "\n".join(lines + [f"{label}: {r.policy}" for label, r in readings.items()])


def grid_table(tuned: Tuned) -> Group:
    """A grid as it was tried, and what was chosen."""
    down, across = tuned.axes
    columns = list(dict.fromkeys(getattr(trial.settings, across) for trial in tuned.trials))
    rows: dict[float, list[str]] = {}
    for trial in tuned.trials:
        mark = "*" if trial is tuned.best else " "
        rows.setdefault(getattr(trial.settings, down), []).append(f"{trial.nats:.4f}{mark}")
    grid = Table(f"{down}, {across}", box=None, header_style="bold", padding=(0, 1))
    for column in columns:
        grid.add_column(f"{column:g}", justify="right")
    for row, cells in rows.items():
        grid.add_row(f"{row:g}", *cells)
    return Group(
        f"{tuned.part} tuned, memory {tuned.memory}: nats per token of validation", grid, ""
    )


def _cells(score: Score, base: Score) -> tuple[str, ...]:
    return (
        f"{score.nats:,.0f}",
        f"{score.bits_per_byte:.3f}",
        f"{score.perplexity:,.2f}",
        f"{score.word_perplexity:,.2f}",
        f"{_ratio(score.perplexity, base.perplexity) - 1:+.1%}",
        f"{score.tokens_per_second:,.0f}",
        f"{_ratio(score.seconds, base.seconds):.2f}x",
        f"{score.state_bytes / 2**20:.2f} MiB",
    )


def _ratio(value: float, base: float) -> float:
    return value / base if base else float("nan")
