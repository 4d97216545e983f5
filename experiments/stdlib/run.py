"""The demo over several seeds, with its dense control.

    python experiments/stdlib/run.py

trains every model on every seed, lets each read the held-out packages, and writes results.json,
results.md and results.png beside this file. Stopped, it goes on where it was.
"""

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from statistics import mean, stdev

import tyro

HERE = Path(__file__).parent
MODELS = {"demo": "sparse", "demo-dense": "dense", "demo-static": "none"}


@dataclass
class Options:
    """The demo over several seeds."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the initial weights; every model is trained on each."""
    runs: Path = Path("runs/stdlib")
    """Where the runs go."""
    workers: int = 2
    """Runs side by side, with one thread each."""


def run(model: str, seed: int, options: Options) -> dict:
    """Train and evaluate one model on one seed; returns what `evaluate --json` wrote."""
    folder = options.runs / f"{model}-{seed}"
    scores = folder / "evaluation.json"
    if not scores.exists():
        folder.mkdir(parents=True, exist_ok=True)
        train = ["train", f"recipes/{model}.toml", "--training.seed", str(seed)]
        with (folder / "output.txt").open("a") as output:
            for command in (
                [*train, "--run", str(folder)],
                ["evaluate", str(folder), "--json", str(scores)],
            ):
                subprocess.run(
                    [sys.executable, "-m", "sparsemeta", *command],
                    check=True,
                    stdout=output,
                    stderr=output,
                    env=os.environ | {"OMP_NUM_THREADS": "1"},
                )
    return json.loads(scores.read_text())


def spread(values: list[float], form: str) -> str:
    """Mean and standard deviation over the seeds."""
    return f"{mean(values):{form}} ± {stdev(values) if len(values) > 1 else 0:{form.lstrip('+')}}"


def summarise(found: dict[str, list[dict]]) -> str:
    """A row for each model and arm; differences are between runs of the same seed."""
    rows = [
        "| memory | arm | perplexity | bits per byte | nats per token against none | context |",
        "|---|---|---|---|---|---|",
    ]
    none = [scores["arms"]["static"]["total"] for scores in found["demo-static"]]
    for model, memory in MODELS.items():
        for arm in found[model][0]["arms"]:
            context = found[model][0]["arms"][arm]["context"]
            totals = [scores["arms"][arm]["total"] for scores in found[model]]
            gain = [
                (t["nats"] - n["nats"]) / t["tokens"] for t, n in zip(totals, none, strict=True)
            ]
            cells = (
                memory,
                arm,
                spread([total["perplexity"] for total in totals], ".2f"),
                spread([total["bits_per_byte"] for total in totals], ".3f"),
                spread(gain, "+.3f"),
                context,
            )
            rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def draw(found: dict[str, list[dict]], path: Path) -> None:
    """Perplexity of all that was read so far, relative to the model without memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    def nats(scores: dict, arm: str) -> list[float]:
        return list(accumulate(text["nats"] for text in scores["arms"][arm]["texts"]))

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    first = found["demo-static"][0]["arms"]["static"]["texts"]
    read = list(accumulate(text["tokens"] for text in first))
    none = [nats(scores, "static") for scores in found["demo-static"]]
    for model, arm, label in (
        ("demo-dense", "carried", "dense, carried"),
        ("demo", "document", "sparse, emptied at each text"),
        ("demo", "carried", "sparse, carried"),
    ):
        ratios = [
            [math.exp((n - m) / t) for n, m, t in zip(nats(scores, arm), base, read, strict=True)]
            for scores, base in zip(found[model], none, strict=True)
        ]
        middle, low, high = ([f(v) for v in zip(*ratios, strict=True)] for f in (mean, min, max))
        (line,) = axes.plot(read, middle, marker="o", markersize=3, label=label)
        axes.fill_between(read, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.axhline(1, color="black", linestyle="--", linewidth=1, label="no memory, equal size")
    axes.set_xscale("log")
    axes.set_ylim(0, 1.05)
    axes.set_xlabel("tokens of the held-out packages read so far; a point at the end of each text")
    axes.set_ylabel("perplexity so far, against no memory")
    axes.set_title("Memory while reading: mean and range over the seeds", loc="left")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main(options: Options) -> None:
    jobs = [(model, seed) for seed in options.seeds for model in MODELS]
    with ThreadPoolExecutor(options.workers) as pool:
        scores = list(pool.map(lambda job: run(job[0], job[1], options), jobs))
    found = {m: [s for (name, _), s in zip(jobs, scores, strict=True) if name == m] for m in MODELS}
    (HERE / "results.json").write_text(json.dumps({"seeds": options.seeds, **found}, indent=1))
    draw(found, HERE / "results.png")
    table = summarise(found)
    (HERE / "results.md").write_text(f"Seeds {', '.join(map(str, options.seeds))}.\n\n{table}\n")
    print(table)


if __name__ == "__main__":
    main(tyro.cli(Options))
