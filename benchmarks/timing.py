"""Honest timings: alternatives take turns in one process, and medians are compared."""

import time
from collections.abc import Callable
from statistics import median

from rich.console import Console
from rich.table import Table


def interleaved(alternatives: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each alternative, run in turn so that all meet the same machine."""
    for run in alternatives.values():
        run()  # not counted: compiles, allocates, fills the caches
    seconds: dict[str, list[float]] = {name: [] for name in alternatives}
    for _ in range(rounds):
        for name, run in alternatives.items():
            began = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - began)
    return {name: median(taken) for name, taken in seconds.items()}


def show(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table(title=title, title_justify="left")
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)
