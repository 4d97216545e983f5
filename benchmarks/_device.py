"""Time and memory on a GPU, by its own clock; used on both sides of `gpu.py`, so torch alone."""

from collections.abc import Callable
from statistics import median
from typing import NamedTuple

import torch


class Taken(NamedTuple):
    """What a piece of work took: milliseconds (a median), and bytes at its peak beyond before."""

    milliseconds: float
    peak: int


def measure(work: Callable[[], object], rounds: int) -> Taken:
    """Run it a few times uncounted, then `rounds` times."""
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(rounds):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record()
        work()
        ended.record()
        torch.cuda.synchronize()
        times.append(began.elapsed_time(ended))
    return Taken(median(times), torch.cuda.max_memory_allocated() - before)
