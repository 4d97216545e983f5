"""Two processes that train together, on the CPU: as one process, and resumed as uninterrupted."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from sparsemeta.cli import main
from sparsemeta.lm.modelling import LMState
from sparsemeta.run import newest
from tests.lm.runs import assert_same_run, records
from tests.tiny import assert_same_state

OPTIONS = [
    "--training.steps",
    "8",
    "--training.accumulate",
    "2",
    "--corpus.validation",
    "text/held",
]
OPTIONS += ["--training.validate-every", "3", "--training.streams", "4"]
OPTIONS += ["--model.output", "rows", "tables", "--model.tables.orders", "0", "1", "2"]


STOPPED = """
import os, signal, sys
from sparsemeta import cli, run

class Stop(run.Progress):
    def advance(self, step, status):
        if step == 2 and run.is_main():  # the main process alone
            os.kill(os.getpid(), signal.SIGTERM)

run.Progress = Stop
sys.exit(cli.main())
"""


def start(*options, program=("-m", "sparsemeta")):
    """A training of two processes in the background."""
    command = [sys.executable, *program, "train", "tiny.toml", "--training.devices", "2"]
    alone = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.Popen(
        [*command, *OPTIONS, *options], env=os.environ | alone, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    said = process.communicate()[1]
    assert "Traceback" not in said, said
    return process.returncode, said


def assert_close(one, other):
    """Two runs with equal logs and weights but for rounding."""
    for mine, theirs in zip(records(one), records(other), strict=True):
        if "loss" in mine:
            assert mine["tokens"] == theirs["tokens"]
        for name in mine.keys() & {"loss", "grad_norm", "learning_rate"}:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-5)
        if "validation" in mine:
            bits = [record["validation"]["bits_per_byte"] for record in (mine, theirs)]
            assert bits[0] == pytest.approx(bits[1], rel=1e-5)
    (mine, state), (theirs, other_state) = map(kept, (one, other))
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-4, atol=1e-5)
    assert_same_state(state, other_state, rtol=1e-4, atol=1e-5)


def kept(run):
    """What the last checkpoint holds: the tensors of the model and its training, and the state."""
    folder, prefix = newest(run / "checkpoints"), "own/"
    found = load_file(folder / "model.safetensors") | load_file(folder / "training.safetensors")
    own = [name for name in found if name.startswith(prefix)]
    state = LMState.from_tensors({name.removeprefix(prefix): found.pop(name) for name in own})
    return found, state


def test_two_processes_train_as_one_and_are_stopped_and_resumed_exactly(project):
    (project / "stopped.py").write_text(STOPPED)
    parts, whole = start("--run", "parts", program=["stopped.py"]), start("--run", "whole")
    assert main(["train", "tiny.toml", *OPTIONS, "--run", "one"]) == 0
    code, said = finish(parts)
    assert (code, said.count("Stopped after step 2 of 8")) == (130, 1)
    assert records(project / "parts")[-1]["step"] == 2
    assert finish(whole)[0] == 0

    shutil.copytree(project / "parts", project / "sharded")
    resumed = [start("--run", "parts"), start("--run", "sharded", "--training.strategy", "fsdp")]
    assert [finish(process)[0] for process in resumed] == [0, 0]
    assert_same_run(project / "parts", project / "whole")
    assert_close(project / "whole", project / "one")
    assert_close(project / "sharded", project / "one")
