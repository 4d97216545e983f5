"""Whether compiled loops can be used, and running them on torch's threads.

Needs no numba itself: a kernel is any function.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sparsemeta.errors import installed

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""Of a kernel's sums: they may be reordered, which makes them SIMD; NaN and infinity keep their
meaning."""
WORTH_A_THREAD = 4096
"""Fewer numbers than this are not handed to another thread."""

Array = Tensor | np.ndarray


@torch.compiler.assume_constant_result
def there(package: str) -> bool:
    """Whether an optional package is installed, also while a graph is traced."""
    return installed(package)


def usable(x: Tensor) -> bool:
    """Whether compiled loops serve this tensor: it is on a CPU, and numba is installed."""
    return at_hand(x) and there("numba")


def at_hand(x: Tensor) -> bool:
    """Whether the numbers of this tensor can be looked at.

    Elsewhere than on a CPU one would have to wait for them, and a traced graph has none.
    """
    return x.is_cpu and not torch.compiler.is_compiling()


def compiled(loop: Any) -> Any:
    """The loop in machine code or, where numba is missing, as it is: slow, and right."""
    if not installed("numba"):
        return loop
    from numba import njit

    return njit(nogil=True, cache=True, error_model="numpy")(loop)


def _array(x: Array) -> np.ndarray:
    if isinstance(x, np.ndarray):  # of a tensor, this is the quicker question
        return x
    return (x.detach() if x.requires_grad else x).numpy()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="sparsemeta")


def spread(
    kernel, items: int, groups: tuple[Array | tuple[Array, ...], ...], *options: bool
) -> None:
    """Run a kernel over independent items, split evenly over torch's threads.

    It is called as kernel(first item, last item, *options, *arrays), and holds no GIL. Groups, of
    what it reads and writes, are tensors or tuples of them, which become arrays or tuples of them,
    and arrays; the size of the first tells how much work it is.
    """
    arrays = [
        tuple([_array(x) for x in group]) if isinstance(group, tuple) else _array(group)
        for group in groups
    ]
    threads = min(torch.get_num_threads(), items)
    size = arrays[0][0].size if isinstance(arrays[0], tuple) else arrays[0].size
    if threads == 1 or size < WORTH_A_THREAD:
        kernel(0, items, *options, *arrays)
        return
    cuts = np.linspace(0, items, threads + 1).astype(int)
    run = partial(_pool(threads).submit, kernel)
    for job in [run(first, last, *options, *arrays) for first, last in pairwise(cuts)]:
        job.result()
