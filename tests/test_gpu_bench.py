"""The benchmark for GPUs where there is none: it says so, and shows no figures."""

import os
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).parent.parent / "benchmarks" / "gpu.py"


def test_without_a_gpu_it_says_that_nothing_was_measured():
    hidden = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, BENCH], env=hidden, capture_output=True, text=True)
    assert done.returncode == 1
    assert "sees no CUDA GPU here, so nothing was measured" in done.stderr
    assert not done.stdout
