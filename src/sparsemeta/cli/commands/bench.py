"""`sparsemeta bench BENCHMARK`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.cli.support.deliver import Delivery
from sparsemeta.streams.bench import BENCHMARKS, MODELS

_ABOUT = "; ".join(f"{name}: {entry.about}" for name, entry in BENCHMARKS.items())
_MODELS = "; ".join(f"{name}, {what}" for name, what in MODELS.items())
_DATA = "; ".join(f"{name} needs {entry.data}" for name, entry in BENCHMARKS.items() if entry.data)
_ONLY = f"Train only these of the models that the benchmark has, of all: {_MODELS}."


@dataclass(frozen=True)
class Bench:
    """See whether sparse fast weights adapt better than dense ones, on streams with an oracle.

    Networks with a sparse memory, dense memories, and an LSTM are trained alike to learn from such
    streams, then tested on others, beside learners that need no training and an oracle.

    A bench that was stopped goes on where it was. `sparsemeta bench digits --quick` takes seconds;
    a full one up to an hour.
    """

    benchmark: Annotated[
        tyro.conf.Positional[str],
        tyro.conf.arg(metavar=f"{{{','.join(BENCHMARKS)}}}", help=f"What to run. {_ABOUT}."),
    ]
    seeds: int = 5
    """How often, from other weights and on other streams; all models of a seed meet the same."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(help=_ONLY)] = ()
    data: Annotated[Path | None, tyro.conf.arg(help=f"Files to read: {_DATA}.")] = None
    batches: int | None = None
    """How many batches of streams each model is trained on; if left out, what the task needs."""
    streams: int | None = None
    """How many streams are tested on, per seed and condition; if left out, as many as give steady
    figures."""
    quick: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Run the sparse memory alone, on one seed, with settings that were chosen before."""
    run: Path = Path("runs/bench")
    """The folder of what is trained and measured, in a subfolder for each benchmark."""
    json: Path | None = None
    """Write all numbers to this file."""
    plot: Path | None = None
    """Draw recovery after a switch, retention by age, and scores by write strength: a .png, .pdf
    or .svg file."""


def main(arguments: Sequence[str]) -> None:
    """Run the benchmark, print, and write what was asked for."""
    asked = asdict(tyro.cli(Bench, args=list(arguments), prog="sparsemeta bench"))
    delivery = Delivery(asked.pop("json"), asked.pop("plot"), extra="tasks")

    from sparsemeta.run import Progress
    from sparsemeta.streams.bench import plot, run, summary, table

    found = run(folder=asked.pop("run"), progress=Progress(), **asked)
    shown = table(found), summary(found)
    delivery.deliver(*shown, data=found.to_dict, draw=partial(plot, found), width=180)
