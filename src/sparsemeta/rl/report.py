"""How agents did, as a table for people and as plain data."""

from dataclasses import asdict
from typing import Any

from rich.table import Table

from sparsemeta.rl.environments import find_spec
from sparsemeta.rl.evaluation import Evaluation


def table(found: Evaluation) -> Table:
    """A row for each player: what was measured per episode, mean ± standard error."""
    curve = find_spec(found.environment.id).curve
    result = Table(box=None, header_style="bold", padding=(0, 1))
    result.add_column("player", no_wrap=True)
    for measure in next(iter(found.players.values())).measures:
        result.add_column(measure, justify="right")
    if curve.ticks:
        result.add_column(curve.title)
    for name, played in found.players.items():
        cells = [f"{mean:.2f} ± {error:.2f}" for mean, error in played.measures.values()]
        if curve.ticks:
            cells.append(" ".join(f"{share:.2f}".lstrip("0") for share in played.curve))
        result.add_row(name, *cells)
    return result


def summary(found: Evaluation) -> str:
    """How the table is to be read."""
    place = " ".join((found.environment.id, *found.environment.settings))
    each = f", {found.per_task} of each task in a row" if found.per_task > 1 else ""
    return (
        f"{place}: per episode, mean ± standard error over {found.episodes} episodes{each}; the "
        "agent's slow weights are frozen"
    )


def to_dict(found: Evaluation) -> dict[str, Any]:
    """All numbers, as JSON has them, and what the curves show."""
    return asdict(found) | {"curve": find_spec(found.environment.id).curve.title}
