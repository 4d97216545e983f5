"""What adding a task takes: its class, its benchmark, and a row of the registry."""

import io
import json
from dataclasses import dataclass

import pytest
import torch
from rich.console import Console
from torch import nn

from sparsemeta.cli import main
from sparsemeta.config import MemoryConfig
from sparsemeta.streams import Metric, Stream, Task, TrainingConfig
from sparsemeta.streams.bench import (
    BENCHMARKS,
    RECOVERY,
    Benchmark,
    Curve,
    Entry,
    Network,
    forms,
    plot,
    run,
    summary,
    table,
)

DISTANCE = Metric(
    name="distance",
    unit="distance in millimetres",
    each=lambda predictions, target: (predictions - target).abs().sum(-1),
    more_is_better=False,
    factor=1000,
    digits=0,
)
CLOCK = Curve("clock", "hours since midnight", "linear", lambda s: (s.source % 3, s.scored))


@dataclass(frozen=True)
class Drift(Task, section="drift"):
    """A number that is the last one, and a bit more."""

    metric = DISTANCE
    oracle_name = "clockwork"
    input_shape = (2,)
    outputs = 1
    length: int = 24

    def sample(self, batch, generator):
        steps = torch.rand(batch, self.length, 1, generator=generator)
        target, always = steps.cumsum(1) / self.length, steps[..., 0] >= 0
        hour = torch.arange(self.length).expand(batch, -1)
        return Stream(
            target.repeat(1, 1, 2), target, always, target, always, hour, torch.zeros_like(hour)
        )

    def oracle(self, stream):
        return nn.functional.pad(stream.feedback[:, :-1], (0, 0, 1, 0))


def drift() -> Benchmark:
    memory = MemoryConfig(slots=16, active=2, heads=1, key_width=4, value_width=4)
    return Benchmark(
        name="drift",
        train=Drift(),
        validation=(Drift(),),
        tests={"a day": Drift(), "two days": Drift(length=48)},
        headline="two days",
        network=Network(width=2, outputs=1, kind="values"),
        forms=forms(memory, memory, linear=4, lstm=4),
        training=TrainingConfig(steps=2, batch=2, warmup=1),
        learning_rates=(1e-3,),
        rates=(0.5,),
        curves=(RECOVERY, CLOCK),
        strengths=(0.1, 1.0),
    )


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(BENCHMARKS, "drift", Entry("a number that drifts", f"{__name__}:drift"))


def test_from_python(tmp_path):
    found = run("drift", seeds=2, models=("sparse", "linear"), folder=tmp_path)
    assert list(found.seeds[0]) == ["sparse", "linear", "clockwork"]
    assert [at for at, _ in found.seeds[0]["clockwork"]["clock"]] == [0, 1, 2]

    console = Console(width=200, record=True, file=io.StringIO())
    console.print(table(found))
    assert "a day two days chosen us/step state" in " ".join(console.export_text().split())
    assert summary(found).startswith("distance in millimetres on streams")
    assert "two days: sparse less linear, the best dense control: " in summary(found)

    plot(found, tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for words in ("hours since midnight", "write strength, held", "clockwork", "distance"):
        assert words in drawn
    assert "lessons since the switch" not in drawn  # nothing ever switches


def test_from_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ["--quick", "--streams", "8", "--json", "a.json", "--plot", "a.png"]
    assert main(["bench", "drift", *options]) == 0
    assert "clockwork" in capsys.readouterr().out
    assert json.loads((tmp_path / "a.json").read_text())["task"] == "drift"
