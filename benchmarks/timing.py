"""Honest timings: alternatives take turns in one process, and medians are compared."""

import os
import platform
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

import torch
from rich.console import Console
from rich.table import Table


def interleaved(alternatives: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
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


def machine() -> str:
    """What the figures depend on: processor, cores, torch."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    name = named.group(1).strip() if named else platform.machine()
    return f"{name}, {os.cpu_count()} cores, torch {torch.__version__}"


def show(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    table = Table()
    for i, name in enumerate(header):
        table.add_column(name, justify="left" if i == 0 else "right")
    for row in rows:
        table.add_row(*row)
    console = Console(width=120)
    console.print(title, highlight=False)
    console.print(table)
