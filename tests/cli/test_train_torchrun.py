"""Four processes of torchrun, one of them killed: begun again, they learn what one does."""

import os
import subprocess
import sys

import pytest

from sparsemeta.cli import main
from tests.cli.test_train_processes import OPTIONS, assert_close
from tests.lm.runs import records

KILLED = """
import os, signal, sys
from sparsemeta import cli, run

class Kill(run.Progress):
    def advance(self, step, status):
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and step == 3 and run.is_main():
            os.kill(os.getpid(), signal.SIGKILL)

run.Progress = Kill
sys.exit(cli.main())
"""
TRAIN = ["train", "tiny.toml", *OPTIONS, "--training.checkpoint-every", "2"]


def torchrun(processes, *options, program=("-m", "sparsemeta")):
    """Train so many processes, as on a machine of several GPUs."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher += ["--max-restarts", "1", *program[:-1], "--"]  # it would take --run for its own
    command = [sys.executable, "-W", "ignore", *launcher, program[-1], *TRAIN]
    alone = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, *options], env=os.environ | alone, capture_output=True, text=True
    )


@pytest.mark.parametrize("processes", [4])
def test_killed_and_begun_again_they_end_where_one_does(project, processes):
    (project / "killed.py").write_text(KILLED)
    devices = ["--training.devices", str(processes), "--run", "many"]
    done = torchrun(processes, *devices, program=["killed.py"])
    assert done.returncode == 0, done.stderr
    assert "going on from" in done.stdout + done.stderr
    assert main([*TRAIN, "--run", "one"]) == 0
    assert [r["step"] for r in records(project / "many") if "loss" in r] == list(range(1, 9))
    assert_close(project / "many", project / "one")


def test_another_number_of_devices_is_refused(project):
    done = torchrun(1, "--training.devices", "2", "--run", "many")
    assert done.returncode != 0
    assert "training.devices = 2, but torchrun started 1 processes" in done.stderr
