"""A benchmark from end to end: train what is trained, choose, measure, keep what was found."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sparsemeta.errors import require
from sparsemeta.files import write_text
from sparsemeta.run import Progress
from sparsemeta.streams.bench.benchmark import Benchmark, Form
from sparsemeta.streams.bench.contenders import Contender, learned, measure, untrained, validate
from sparsemeta.streams.bench.findings import Findings
from sparsemeta.streams.bench.registry import BENCHMARKS
from sparsemeta.streams.training import train

Pair = tuple[float, float]  # a learning rate, and the write strength that training begins with


def run(
    benchmark: str | Benchmark,
    *,
    seeds: int = 5,
    models: Sequence[str] = (),
    batches: int | None = None,
    streams: int | None = None,
    quick: bool = False,
    data: str | Path | None = None,
    folder: str | Path = "runs/bench",
    progress: Progress | None = None,
) -> Findings:
    """Run a benchmark, or go on with it: what is in the folder is not done again.

    Each model's learning rate and first write strength are those of the best score on validation
    streams of the first seed; the setting that it is tested with is chosen on those of each seed.

    Args:
        benchmark: a name of `BENCHMARKS`, or one of your own.
        seeds: how many, from 0. All contenders of a seed meet the same streams.
        models: only these of the learned ones; empty is all.
        batches: that each model is trained on; None is what the benchmark needs.
        streams: to be tested on, per seed and condition; None is what the benchmark needs.
        quick: one seed of the sparse memory alone, on a quarter of batches and streams.
        data: the files that the benchmark needs, if any.
        folder: of the trained models and of what was measured, in a subfolder of the name.
        progress: where to show how it goes; nothing is shown without it.

    Raises:
        ConfigError: no such benchmark or model, its data are not named, or nothing is to be done.
        CorpusError: the data are not what they should be.
    """
    require(seeds >= 1, f"seeds = {seeds} must be at least 1")
    progress = progress or Progress(quiet=True)
    if isinstance(benchmark, Benchmark):
        home, made = Path(folder) / benchmark.name, benchmark
    else:
        known = ", ".join(BENCHMARKS)
        require(benchmark in BENCHMARKS, f"there is no bench {benchmark!r}, only {known}")
        home, entry = Path(folder) / benchmark, BENCHMARKS[benchmark]
        require(bool(data or not entry.data), f"bench {benchmark} needs --data: {entry.data}")
        needs = (Path(data), home, progress, quick) if data and entry.data else ()
        made = entry.load()(*needs)
    pairs: dict[str, Pair] = {}
    found = []
    for seed in range(1 if quick else seeds):
        bench = made if isinstance(made, Benchmark) else made(seed)
        bench = bench.changed(models, batches, streams)
        one = _Seed(bench.quick() if quick else bench, seed, home, progress)
        found.append((one.benchmark, one.run(pairs)))
    return Findings(found[0][0], [seen for _, seen in found])


@dataclass
class _Seed:
    """One seed of a benchmark, in the folder that it goes on from."""

    benchmark: Benchmark
    seed: int
    folder: Path
    progress: Progress

    def run(self, pairs: dict[str, Pair]) -> dict[str, dict[str, Any]]:
        """Train and measure all contenders; pairs that are missing are chosen, and added."""
        found = {}
        for name, form in self.benchmark.forms.items():
            pair = pairs[name] = pairs.get(name) or self._choose(name, form)
            make = partial(self._trained, name, form, pair)
            seen = self._kept(name, "measured", make, measure, form, pair)
            found[name] = seen | {"learning_rate": pair[0], "first_strength": pair[1]}
        for name, contender in untrained(self.benchmark).items():
            found[name] = self._kept(name, "measured", lambda it=contender: it, measure)
        return found

    def _choose(self, name: str, form: Form) -> Pair:
        """The pair whose model does best on validation streams, at its best write strength."""
        metric, grid = self.benchmark.metric, (self.benchmark.learning_rates, self.benchmark.rates)
        pairs = list(itertools.product(*grid))

        def best(*asked: Any) -> float:
            scores = [score for _, score in validate(*asked)]
            return scores[metric.best(scores)]

        def score(pair: Pair) -> float:
            make = partial(self._trained, name, form, pair)
            return self._kept(name, "validated", make, best, form, pair)

        return pairs[metric.best([score(pair) for pair in pairs])] if pairs[1:] else pairs[0]

    def _trained(self, name: str, form: Form, pair: Pair) -> Contender:
        bench, (rate, strength) = self.benchmark, pair
        self._say(name, f"trained at learning rate {rate:g}, first write strength {strength:g}")
        torch.manual_seed(self.seed)
        model = bench.network.build(form, strength)
        config = replace(bench.training, learning_rate=rate, seed=self.seed)
        train(model, bench.train, config, self._cell(name, pair), progress=self.progress)
        return learned(model, form, bench)

    def _cell(self, name: str, pair: Pair | None = None) -> Path:
        """The folder of a contender, or of one way to train it."""
        cell, steps = self.folder / f"{name}-{self.seed}", self.benchmark.training.steps
        return cell / f"{steps}-batches-{pair[0]:g}-{pair[1]:g}" if pair else cell

    def _kept(
        self,
        name: str,
        what: str,
        make: Callable[[], Contender],
        find: Callable[[Contender, Benchmark, int], Any],
        form: Form | None = None,
        pair: Pair | None = None,
    ) -> Any:
        """What is found of a contender, kept in a file that holds all that decides it."""
        bench, file = self.benchmark, self._cell(name, pair) / f"{what}.json"
        tasks = bench.train, bench.validation, bench.tests
        about = repr((*tasks, bench.streams, bench.strengths, bench.training, form))
        kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        if kept.get("about") != about:
            contender = make()
            self._say(name, what)
            text = json.dumps({"about": about, "found": find(contender, bench, self.seed)})
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, text)
            kept = json.loads(text)
        return kept["found"]

    def _say(self, name: str, what: str) -> None:
        self.progress.message(f"{self.benchmark.name}, seed {self.seed}: {name} is {what}")
