"""One seed and one thread per test process; uninitialised memory is NaN, so that using it shows.

No process outlives the test that began it: left to a failing test's traceback, it would be reported
as a leak, and so as a failure, in whichever test happens to run when it is collected.

Without the extras, tests that need one are skipped.
"""

import subprocess
import weakref

import pytest
import torch

from sparsemeta.errors import installed

_begun: weakref.WeakSet["_Process"] = weakref.WeakSet()


class _Process(subprocess.Popen):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        _begun.add(self)


subprocess.Popen = _Process


@pytest.fixture(autouse=True)
def _deterministic():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


@pytest.fixture(autouse=True)
def _no_process_is_left():
    yield
    for process in list(_begun):
        with process:  # closes its pipes, and waits
            process.kill()
    _begun.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    try:
        return (yield)
    except ImportError as missing:
        if installed("numba"):  # so are the others
            raise
        pytest.skip(str(missing))
