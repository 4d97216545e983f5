"""A store survives kill -9. By hand, a hundred times: SPARSEMETA_KILLS=100."""

import os
import subprocess
import sys
import tempfile

from tests.serve.store.made import FAST

KILLS = os.environ.get("SPARSEMETA_KILLS", "10")


def test_what_was_acknowledged_survives_kills():
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        command = [sys.executable, "-m", "tests.serve.store.killing", folder, KILLS]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith(f"{KILLS} kills survived"), done.stderr
