"""A benchmark from end to end: train what is trained, choose, measure, keep what was found."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sparsemeta import run as engine
from sparsemeta.files import write_text
from sparsemeta.nn.stream_learner import StreamLearner
from sparsemeta.streams.bench.benchmark import Benchmark
from sparsemeta.streams.bench.contenders import Contender, learned, untrained
from sparsemeta.streams.bench.measure import best, measure, validate
from sparsemeta.streams.bench.models import Form
from sparsemeta.streams.training import train

Pair = tuple[float, float]
"""A learning rate, and the write strength that training begins with."""


def run(
    benchmark: Callable[[int], Benchmark],
    seeds: int,
    folder: Path,
    progress: engine.Progress,
) -> list[dict[str, dict[str, Any]]]:
    """Run a benchmark, or go on with it: what is in the folder is not done again.

    Each model's learning rate and first write strength are those of the best score on validation
    streams of the first seed; the setting that it is tested with is chosen on those of each seed.

    Args:
        benchmark: for a seed.
        seeds: how many, from 0. All contenders of a seed meet the same streams.
        folder: of the trained models and of what was measured.
        progress: where to show how it goes.

    Returns:
        For each seed what `measure` found, by contender.
    """
    pairs: dict[str, Pair] = {}
    return [_Seed(benchmark(seed), seed, folder, progress).run(pairs) for seed in range(seeds)]


@dataclass
class _Seed:
    """One seed of a benchmark, in the folder that it goes on from."""

    benchmark: Benchmark
    seed: int
    folder: Path
    progress: engine.Progress

    def run(self, pairs: dict[str, Pair]) -> dict[str, dict[str, Any]]:
        """Train and measure all contenders; pairs that are missing are chosen, and added."""
        found = {}
        for name, form in self.benchmark.forms.items():
            if name not in pairs:
                pairs[name] = self._choose(name, form)
            rate, strength = pairs[name]
            found[name] = self._measured(name, form, pairs[name]) | {
                "learning_rate": rate,
                "first_strength": strength,
            }
        for name, contender in untrained(self.benchmark).items():
            file = self.folder / f"{name}-{self.seed}" / "measured.json"
            found[name] = _kept(file, self._about(), partial(self._measure, name, contender))
        return found

    def _measured(self, name: str, form: Form, pair: Pair) -> dict[str, Any]:
        def make() -> dict[str, Any]:
            return self._measure(name, self._trained(name, form, pair))

        return _kept(self._cell(name, pair) / "measured.json", self._about(form), make)

    def _measure(self, name: str, contender: Contender) -> dict[str, Any]:
        self._say(name, "measured")
        return measure(contender, self.benchmark, self.seed)

    def _choose(self, name: str, form: Form) -> Pair:
        """The pair whose model does best on validation streams, at its best write strength."""
        bench = self.benchmark
        pairs = list(itertools.product(bench.learning_rates, bench.rates))
        if len(pairs) == 1:
            return pairs[0]
        scores = []
        for pair in pairs:

            def make(pair: Pair = pair) -> float:
                contender = self._trained(name, form, pair)
                self._say(name, "validated")
                return best(bench, validate(contender, bench, self.seed))[1]

            file = self._cell(name, pair) / "validated.json"
            scores.append(_kept(file, self._about(form), make))
        return pairs[scores.index(best(bench, [(None, score) for score in scores])[1])]

    def _trained(self, name: str, form: Form, pair: Pair) -> Contender:
        bench, (rate, strength) = self.benchmark, pair
        self._say(name, f"trained at learning rate {rate:g}, first write strength {strength:g}")
        torch.manual_seed(self.seed)
        model: StreamLearner = bench.network.build(form, strength)
        config = replace(bench.training, learning_rate=rate, seed=self.seed)
        train(model, bench.train, config, self._cell(name, pair), progress=self.progress)
        return learned(model, form, bench)

    def _cell(self, name: str, pair: Pair) -> Path:
        rate, strength = pair
        trial = f"{self.benchmark.training.steps}-batches-{rate:g}-{strength:g}"
        return self.folder / f"{name}-{self.seed}" / trial

    def _about(self, form: Form | None = None) -> str:
        """All that decides what is found; if it changes, what was kept no longer counts."""
        bench = self.benchmark
        tasks = bench.train, bench.validation, bench.tests
        return repr((*tasks, bench.streams, bench.strengths, bench.training, form))

    def _say(self, name: str, what: str) -> None:
        self.progress.message(f"{self.benchmark.name}, seed {self.seed}: {name} is {what}")


def _kept(file: Path, about: str, make: Callable[[], Any]) -> Any:
    """What a file holds, if it is about the same; else what `make` finds, which is kept there."""
    if file.exists():
        kept = json.loads(file.read_text(encoding="utf-8"))
        if kept["about"] == about:
            return kept["found"]
    text = json.dumps({"about": about, "found": make()})
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, text)
    return json.loads(text)["found"]
