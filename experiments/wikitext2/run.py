"""WikiText-2 in words: a static decoder and one with memory, each with every kind of adapting.

    python experiments/wikitext2/run.py

trains both recipes (the text in data/wikitext-2), tunes cache and dynamic evaluation on the
validation text, lets both models read the test text once for each arm, and writes results.json,
results.md and results.png beside this file. Stopped, it goes on where it was.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

HERE = Path(__file__).parent
TEST = "data/wikitext-2/wiki.test.tokens"
LIVES = ("static", "document", "carried", "carried+cache")
ARMS = {
    "wikitext2-word-static": ("static", "cache", "dynamic", "cache+dynamic"),
    "wikitext2-word-strong": ("static", "cache", "dynamic", "cache+dynamic"),
    "wikitext2-word-strong-frozen": (*LIVES, "carried+no-rows", "carried+no-tables"),
    "wikitext2-word": (*LIVES, "carried+dynamic"),
    "wikitext2-word-frozen": (*LIVES, "carried+no-rows", "carried+no-tables"),
    "wikitext2-word-tables": LIVES,
    "wikitext2-word-output": (*LIVES, "carried+no-rows", "carried+no-tables"),
}


@dataclass
class Options:
    """WikiText-2 in words, with every kind of adapting."""

    runs: Path = Path("runs")
    """Where the runs go."""
    tune_tokens: int = 5_000
    """Validation tokens that each point of a grid reads."""
    threads: int = 2
    """Threads that torch may use."""


def command(*arguments: str, threads: int) -> None:
    """Run a command of sparsemeta."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run([sys.executable, "-m", "sparsemeta", *arguments], check=True, env=environment)


def read(model: str, options: Options) -> dict:
    """Train a model if that is not done, and let it read; returns what `evaluate` wrote."""
    run, scores = options.runs / model, options.runs / f"{model}.json"
    if not scores.exists():
        command("train", f"recipes/{model}.toml", "--run", str(run), threads=options.threads)
        tuning = ["--tune", "--tune-tokens", str(options.tune_tokens)]
        output = ["--json", str(scores), "--plot", str(HERE / f"{model}.png")]
        arms = ",".join(ARMS[model])
        command(
            "evaluate", str(run), TEST, "--arms", arms, *tuning, *output, threads=options.threads
        )
    return json.loads(scores.read_text())


def table(found: dict[str, dict]) -> str:
    """A row for each model and arm."""
    rows = [
        "| model | arm | tokens | perplexity | against static | cost | state, MB | bits per byte |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for model, scores in found.items():
        for name, arm in scores["arms"].items():
            total = arm["total"]
            cells = (
                model,
                name,
                f"{total['tokens']:,}",
                f"{total['perplexity']:.1f}",
                f"{arm['relative_perplexity'] - 1:+.1%}",
                f"{arm['relative_cost']:.2f}",
                f"{total['state_bytes'] / 1e6:.1f}",
                f"{total['bits_per_byte']:.3f}",
            )
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    options = tyro.cli(Options)
    found = {model: read(model, options) for model in ARMS}
    (HERE / "results.json").write_text(json.dumps(found, indent=2) + "\n")
    (HERE / "results.md").write_text(table(found) + "\n")
    print(table(found))
