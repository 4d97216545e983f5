"""`sparsemeta bench TASK`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sparsemeta.cli.support.deliver import Delivery
from sparsemeta.config import to_dict
from sparsemeta.errors import ConfigError, require

if TYPE_CHECKING:
    from sparsemeta.run import Progress
    from sparsemeta.streams.bench.suite import Benchmark


@dataclass(frozen=True)
class Bench:
    """See whether sparse fast weights adapt better than dense ones, on streams with an oracle.

    rebinding: cues whose labels change, up to 512 of them live at once; digits and omniglot:
    images class after class, in one pass without replay; sine: a wave that jumps. Networks with a
    sparse memory, dense memories, and an LSTM are trained alike to learn from such streams, then
    tested on others, beside learners that need no training and an oracle.

    A bench that was stopped goes on where it was. `sparsemeta bench digits --quick` takes seconds;
    a full one up to an hour.
    """

    task: tyro.conf.Positional[Literal["rebinding", "omniglot", "sine", "digits"]]
    seeds: int = 5
    """How often, from other weights and on other streams; all models of a seed meet the same."""
    models: tuple[str, ...] = ()
    """Only these of the learned ones: sparse, sparse-equal (of the dense ones' width),
    positive (sine alone), linear, sign, centred-relu, soft-threshold, additive, lstm."""
    data: Path | None = None
    """For omniglot: the folder of images_background and images_evaluation, .zip or .npz."""
    batches: int | None = None
    """Of streams that each model is trained on; if left out, what the task needs."""
    streams: int | None = None
    """To be tested on, per seed and condition; if left out, as many as give steady figures."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The sparse memory alone, on one seed, with settings that were chosen before."""
    run: Path = Path("runs/bench")
    """Folder of what is trained and measured, in a subfolder for each task."""
    json: Path | None = None
    """Write all numbers to this file."""
    plot: Path | None = None
    """Draw recovery after a switch, retention by age, and scores by write strength: a .png, .pdf
    or .svg file."""


def main(arguments: Sequence[str]) -> None:
    """Train, test, print, and write what was asked for."""
    command = tyro.cli(Bench, args=list(arguments), prog="sparsemeta bench")
    for name in ("seeds", "batches", "streams"):
        given = getattr(command, name)
        require(given is None or given >= 1, f"--{name} {given} must be at least 1")

    from sparsemeta.run import Progress
    from sparsemeta.streams import plots
    from sparsemeta.streams.bench import report
    from sparsemeta.streams.bench.running import run

    delivery = Delivery(command.json, command.plot, extra="tasks")
    progress, folder = Progress(), command.run / command.task
    benchmarks = _benchmarks(command, folder, progress)
    found = run(benchmarks, 1 if command.quick else command.seeds, folder, progress)

    bench = benchmarks(0)
    about = {
        "task": command.task,
        "headline": bench.headline,
        "streams": bench.streams,
        "training": to_dict(bench.training),
        "seeds": found,
    }
    delivery.deliver(
        report.table(found, labels=bench.labels),
        report.summary(found, bench.headline, labels=bench.labels),
        data=lambda: about,
        draw=lambda path: plots.plot(found, bench.headline, path, labels=bench.labels),
        width=180,
    )


def _benchmarks(command: Bench, folder: Path, progress: Progress) -> Callable[[int], Benchmark]:
    """The benchmark of each seed, as the command changes it."""
    from sparsemeta.streams.bench import suite

    if command.task == "omniglot":
        if command.data is None:
            raise ConfigError(
                "bench omniglot needs drawings. Name their folder: --data FOLDER, with "
                "images_background.zip and images_evaluation.zip of "
                "https://github.com/brendenlake/omniglot"
            )
        from sparsemeta.streams.bench.characters import characters

        make = characters(command.data, folder, progress, quick=command.quick)
        return lambda seed: _changed(make(seed), command)
    bench = _changed(getattr(suite, command.task)(), command)
    return lambda seed: bench


def _changed(bench: Benchmark, command: Bench) -> Benchmark:
    unknown = [name for name in command.models if name not in bench.forms]
    require(
        not unknown,
        f"--models: bench {bench.name} has no {', '.join(unknown)}, only {', '.join(bench.forms)}",
    )
    wanted = command.models or bench.forms
    bench = replace(
        bench,
        forms={name: form for name, form in bench.forms.items() if name in wanted},
        training=replace(bench.training, steps=command.batches or bench.training.steps),
        streams=command.streams or bench.streams,
    )
    return bench.quick() if command.quick else bench
