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

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Of a kernel's sums: they may be reordered, which makes them SIMD; NaN and infinity keep their
meaning."""
WORTH_A_THREAD = 4096
"""Fewer numbers than this are not handed to another thread."""


def usable(x: Tensor) -> bool:
    """Whether compiled loops serve this tensor: it is on a CPU, and numba is installed."""
    return x.is_cpu and installed("numba")


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sparsemeta")


Group = Tensor | tuple[Tensor, ...]


def spread(kernel, items: int, groups: tuple[Group, ...], *options: bool) -> None:
    """Run a kernel over independent items, split evenly over torch's threads.

    Args:
        kernel: called as kernel(first item, last item, *options, *arrays); it holds no GIL.
        items: how many there are.
        groups: what it reads and writes, as tensors or tuples of them, which become arrays or
            tuples of them; the size of the first tells how much work it is.
        options: what else it is told.
    """
    arrays = [
        group.detach().numpy()
        if isinstance(group, Tensor)
        else tuple([x.detach().numpy() for x in group])
        for group in groups
    ]
    threads = min(torch.get_num_threads(), items)
    if threads == 1 or _size(arrays[0]) < WORTH_A_THREAD:
        kernel(0, items, *options, *arrays)
        return
    cuts = np.linspace(0, items, threads + 1).astype(int)
    jobs: list[Future] = [
        _pool(threads).submit(kernel, first, last, *options, *arrays)
        for first, last in pairwise(cuts)
    ]
    for job in jobs:
        job.result()


def _size(group: np.ndarray | tuple[np.ndarray, ...]) -> int:
    return (group[0] if isinstance(group, tuple) else group).size
