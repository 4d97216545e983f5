"""A tiny recipe to train by, and what runs of it are compared by."""

import dataclasses
import json
import signal

import torch
from safetensors.torch import load_file

from sparsemeta.config import MemoryConfig
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.training import Learner, read_text
from sparsemeta.run import Progress, newest
from tests.tiny import ROWS, TABLES

MODEL = ModelConfig(
    layers=2,
    width=16,
    heads=2,
    window=8,
    mlp_width=16,
    memory_layers=(1,),
    memory=MemoryConfig(slots=16, active=2, heads=1, key_width=8, value_width=8),
    rows=ROWS,
    tables=TABLES,
)


def changed(recipe, part="training", **values):
    part_changed = dataclasses.replace(getattr(recipe, part), **values)
    return dataclasses.replace(recipe, **{part: part_changed})


class Signal(Progress):
    """Sends a signal to this process when a step is done."""

    def __init__(self, step, number):
        super().__init__(quiet=True)
        self.at = (step, number)

    def advance(self, step, status):
        if step == self.at[0]:
            signal.raise_signal(self.at[1])


def records(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def untimed(run):
    """The records of a log without what a clock measured."""
    timed = ("seconds", "tokens_per_second")
    found = [record | record.get("validation", {}) for record in records(run)]
    return [{k: v for k, v in r.items() if k not in (*timed, "validation")} for r in found]


def assert_same_run(one, other):
    for name in ("model.safetensors", "training.safetensors"):
        tensors = load_file(newest(one / "checkpoints") / name)
        others = load_file(newest(other / "checkpoints") / name)
        assert tensors.keys() == others.keys()
        for key, value in tensors.items():
            assert value.dtype == others[key].dtype
            assert torch.equal(value, others[key]), key
    assert untimed(one) == untimed(other)


def begun(recipe, run):
    """A learner before its first step."""
    return Learner(recipe, read_text(recipe), run / "corpus", Progress(quiet=True))
