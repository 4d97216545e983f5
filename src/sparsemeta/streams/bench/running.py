"""A benchmark from end to end: train what is trained, choose, measure, keep what was found."""

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from sparsemeta.errors import ConfigError, require
from sparsemeta.files import write_text
from sparsemeta.run import Progress
from sparsemeta.streams.bench.benchmark import Benchmark
from sparsemeta.streams.bench.contenders import Contender, learned, untrained
from sparsemeta.streams.bench.measuring import measure, validate
from sparsemeta.streams.bench.models import Form
from sparsemeta.streams.bench.registry import BENCHMARKS
from sparsemeta.streams.bench.report import Findings
from sparsemeta.streams.training import train

Pair = tuple[float, float]
"""A learning rate, and the write strength that training begins with."""


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
        ConfigError: there is no such benchmark or model, its data are not named, or nothing is left
            to be done.
        CorpusError: the data are not what they should be.
    """
    require(seeds >= 1, f"seeds = {seeds} must be at least 1")
    progress = progress or Progress(quiet=True)
    if isinstance(benchmark, str):
        folder = Path(folder) / benchmark
        of_seed = _benchmarks(benchmark, data, folder, progress, quick=quick)
    else:
        folder, of_seed = Path(folder) / benchmark.name, lambda seed: benchmark
    pairs: dict[str, Pair] = {}
    found = []
    for seed in range(1 if quick else seeds):
        bench = of_seed(seed).changed(models, batches, streams)
        one = _Seed(bench.quick() if quick else bench, seed, folder, progress)
        found.append((one.benchmark, one.run(pairs)))
    return Findings(found[0][0], [seen for _, seen in found])


def _benchmarks(
    name: str, data: str | Path | None, folder: Path, progress: Progress, *, quick: bool
) -> Callable[[int], Benchmark]:
    """The registered benchmark of each seed."""
    if name not in BENCHMARKS:
        raise ConfigError(f"there is no bench {name!r}, only {', '.join(BENCHMARKS)}")
    entry = BENCHMARKS[name]
    if not entry.data:
        made = entry.load()()
        return lambda seed: made
    if data is None:
        raise ConfigError(f"bench {name} needs --data: {entry.data}")
    return entry.load()(Path(data), folder, progress, quick=quick)


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
            if name not in pairs:
                pairs[name] = self._choose(name, form)
            pair = dict(zip(("learning_rate", "first_strength"), pairs[name], strict=True))
            found[name] = self._measured(name, form, pairs[name]) | pair
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
            make = partial(self._validated, name, form, pair)
            file = self._cell(name, pair) / "validated.json"
            scores.append(_kept(file, self._about(form), make))
        return pairs[bench.metric.best(scores)]

    def _validated(self, name: str, form: Form, pair: Pair) -> float:
        """The score of a pair's model on validation streams, at its best write strength."""
        contender = self._trained(name, form, pair)
        self._say(name, "validated")
        scores = [score for _, score in validate(contender, self.benchmark, self.seed)]
        return scores[self.benchmark.metric.best(scores)]

    def _trained(self, name: str, form: Form, pair: Pair) -> Contender:
        bench, (rate, strength) = self.benchmark, pair
        self._say(name, f"trained at learning rate {rate:g}, first write strength {strength:g}")
        torch.manual_seed(self.seed)
        model = bench.network.build(form, strength)
        config = replace(bench.training, learning_rate=rate, seed=self.seed)
        train(model, bench.train, config, self._cell(name, pair), progress=self.progress)
        return learned(model, form, bench)

    def _cell(self, name: str, pair: Pair) -> Path:
        rate, strength = pair
        steps = self.benchmark.training.steps
        return self.folder / f"{name}-{self.seed}" / f"{steps}-batches-{rate:g}-{strength:g}"

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
