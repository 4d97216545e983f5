"""What each part of wikitext2-word-strong is worth: it, and it without one part, trained alike.

    python experiments/wikitext2/ablation.py

trains each for some hundred steps, reads the beginning of the validation text, and prints a table.
Stopped, it goes on where it was. The learning rate falls to its end within those steps: each is a
whole short training.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

VALIDATION = "data/wikitext-2/wiki.valid.tokens"
VARIANTS = {
    "all of it": {},
    "AdamW for the matrices": {"matrix-rate": "0"},
    "a loss over all words": {"negatives": "0"},
    "half the negatives": {"negatives": "2048"},
    "no bias": {"bias": "no"},
    "dropout 0.1": {"dropout": "0.1"},
    "twice the learning rate of Muon": {"matrix-rate": "0.04"},
    "twice that of all else": {"learning-rate": "4e-3"},
    "half the streams": {"streams": "4"},
}


@dataclass
class Options:
    """What each part of wikitext2-word-strong is worth."""

    runs: Path = Path("runs/ablation")
    """Where the runs go."""
    steps: int = 200
    """Steps of each training, of 2,048 tokens."""
    characters: int = 50_000
    """How much of the validation text is read."""
    threads: int = 1
    """Threads that torch may use."""


def train(name: str, changes: dict[str, str], options: Options) -> dict:
    """The last line of each kind in the log of a variant, trained if that is not done."""
    run, excerpt = options.runs / name.replace(" ", "-"), options.runs / "validation.tokens"
    options.runs.mkdir(parents=True, exist_ok=True)
    excerpt.write_text(Path(VALIDATION).read_text(encoding="utf-8")[: options.characters])
    changes = {**changes}
    bias = "--model.no-bias" if changes.pop("bias", "") else "--model.bias"
    streams = int(changes.get("streams", 8))
    steps = str(options.steps * 8 // streams)
    flags = [bias, "--corpus.validation", str(excerpt), "--training.warmup", "20"]
    flags += ["--training.steps", steps, "--training.validate-every", steps]
    flags += [part for key, value in changes.items() for part in (f"--training.{key}", value)]
    command = [sys.executable, "-m", "sparsemeta", "train", "recipes/wikitext2-word-strong.toml"]
    environment = os.environ | {"OMP_NUM_THREADS": str(options.threads)}
    quiet = {"check": True, "env": environment, "stdout": subprocess.DEVNULL}
    subprocess.run([*command, "--run", str(run), *flags], **quiet)
    records = map(json.loads, (run / "log.jsonl").read_text().splitlines())
    return {key: value for record in records for key, value in record.items()}


def main(options: Options) -> None:
    print("| | validation perplexity | tokens | seconds |\n|---|---|---|---|")
    for name, changes in VARIANTS.items():
        found = train(name, changes, options)
        cells = f"{found['validation']['perplexity']:.1f}", f"{found['tokens']:,}"
        print(f"| {name} | {' | '.join(cells)} | {found['seconds']:.0f} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Options))
