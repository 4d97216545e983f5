"""What training by the recipes takes: tokens per second and peak memory, with and without memory.

scripts/bench recipes [--steps 30] [--threads 2]

Every recipe trains for a few steps in a process of its own, begun anew in a folder of its own. One
whose text is not here is left out.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import tyro
from timing import machine, show

from sparsemeta.config import read_toml
from sparsemeta.lm.config import Recipe

RECIPES = Path(__file__).parent.parent / "recipes"


@dataclass
class Options:
    """What training by the recipes takes."""

    steps: int = 30
    """Optimizer steps of each; the first three are not counted."""
    threads: int = 2
    """Threads that torch may use."""


def measure(recipe: Path, options: Options) -> tuple[float, float]:
    """Median tokens per second of a step, and the process's peak resident memory in GB."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {"steps": options.steps, "checkpoint_every": 10**6, "validate_every": 0}
        flags = [x for k, v in settings.items() for x in (f"--training.{k}", str(v))]
        command = ["-m", "sparsemeta", "train", str(recipe), *flags, "--run", folder]
        environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
        with (Path(folder) / "output").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, *command], stdout=output, stderr=output, env=environment
            )
            _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise SystemExit(f"{recipe.name}: {(Path(folder) / 'output').read_text()[-500:]}")
        lines = (Path(folder) / "log.jsonl").read_text().splitlines()[3:]
    return median(json.loads(line)["tokens_per_second"] for line in lines), usage.ru_maxrss / 1e6


if __name__ == "__main__":
    options = tyro.cli(Options)
    found: dict[str, tuple[float, float, float]] = {}
    for path in sorted(RECIPES.glob("*.toml")):
        recipe = read_toml(path, Recipe)
        if all(source == "stdlib" or Path(source).exists() for source in recipe.corpus.train):
            speed, memory = measure(path, options)
            training = recipe.training
            tokens = training.steps * training.streams * training.segment
            found[path.stem] = speed, memory, tokens / speed / 60
    rows = []
    for name, (speed, memory, minutes) in found.items():
        without = found.get(f"{name}-static")
        cost = f"{without[0] / speed:.2f}" if without else ""
        rows.append([name, f"{speed:,.0f}", f"{memory:.2f}", f"{minutes:.0f}", cost])
    show(
        f"Training, {machine()}, {options.threads} threads, medians of {options.steps - 3} steps",
        ["recipe", "tokens/s", "peak GB", "minutes in all", "cost of memory"],
        rows,
    )
