import os
import signal
import subprocess
import sys

import pytest

from sparsemeta.errors import ConfigError, TrainingError
from sparsemeta.run import locked

HOLD = """
import sys
from pathlib import Path
from sparsemeta.run import locked

with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_locked_folder_names_the_process_and_a_killed_one_does_not_hold_it(tmp_path):
    command = [sys.executable, "-c", HOLD, tmp_path / "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(TrainingError, match=f"run: process {process.pid} is"):
            locked(tmp_path / "run").__enter__()
        process.send_signal(signal.SIGKILL)
    with locked(tmp_path / "run"):
        assert (tmp_path / "run/.lock.pid").read_text() == f"{os.getpid()}\n"


def test_a_lock_is_let_go_even_after_an_error(tmp_path):
    with pytest.raises(OSError, match="mine"), locked(tmp_path):
        raise OSError("mine")
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="file/run: cannot be written"):
        locked(tmp_path / "file/run").__enter__()
