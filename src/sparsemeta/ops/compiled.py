"""Whether compiled loops can be used, and running them on torch's threads.

Needs no numba itself: a kernel is any function.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from sparsemeta.errors import installed

LITTLE = 4096
"""Up to this many numbers are not worth handing to another thread."""


def usable(x: Tensor) -> bool:
    """Whether compiled loops serve this tensor: it is on a CPU, and numba is installed."""
    return x.is_cpu and installed("numba")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sparsemeta")


def spread(kernel, items: int, tensors: tuple[Tensor, ...], *options: bool) -> None:
    """Run a kernel over independent items, split evenly over torch's threads.

    Args:
        kernel: called as kernel(first item, last item, *options, *arrays); it holds no GIL.
        items: how many there are.
        tensors: what it reads and writes; the size of the first tells how much work it is.
        options: what else it is told.
    """
    arrays = [x.detach().numpy() for x in tensors]
    threads = min(torch.get_num_threads(), items)
    if threads == 1 or arrays[0].size < LITTLE:
        kernel(0, items, *options, *arrays)
        return
    cuts = np.linspace(0, items, threads + 1).astype(int)
    jobs: list[Future] = [
        _pool(threads).submit(kernel, first, last, *options, *arrays)
        for first, last in pairwise(cuts)
    ]
    for job in jobs:
        job.result()
