"""Which real step came before each: what happens at a step is written under what preceded it."""

from typing import NamedTuple

import torch
from torch import Tensor


class Predecessors(NamedTuple):
    """Which real step came before each step; positions count the carried step as 0, t as t + 1."""

    position: Tensor | slice  # (B, T) int64
    known: Tensor  # (B, T) bool, False where nothing came before, or a reset lies between
    last: Tensor | slice  # (B, 1) int64, the position of the last real step
    steps: Tensor  # (B,) int64, real steps since the memory was empty


def predecessors(
    x: Tensor, steps: Tensor, mask: Tensor | None, reset: Tensor | None
) -> Predecessors:
    """Find them, for a segment x (B, T, D) of streams that have taken so many steps (B,)."""
    batch, time, _ = x.shape
    if mask is None and reset is None:
        known = (steps > 0)[:, None]
        if time > 1:
            known = torch.cat([known, known.new_ones(batch, time - 1)], dim=1)
        return Predecessors(slice(0, -1), known, slice(-1, None), steps + time)
    step = torch.arange(1, time + 1, device=x.device).expand(batch, time)
    real = step if mask is None else torch.where(mask, step, 0)
    newest = real.cummax(1).values  # the last real step up to and including this one
    position = torch.cat([newest.new_zeros(batch, 1), newest[:, :-1]], dim=1)
    emptied = torch.zeros_like(step) if reset is None else torch.where(reset, step, 0)
    emptied = emptied.cummax(1).values
    carried = (position == 0) & (emptied == 0) & (steps > 0)[:, None]
    known = carried | ((position > 0) & (position >= emptied))
    since = ((real > 0) & (step >= emptied[:, -1:])).sum(1)
    total = torch.where(emptied[:, -1] == 0, steps + since, since)
    return Predecessors(position, known, newest[:, -1:], total)


def take_steps(tensor: Tensor, position: Tensor | slice) -> Tensor:
    """Steps (B, T, ...) of a tensor (B, S, ...) by position (B, T)."""
    if isinstance(position, slice):
        return tensor[:, position]
    at = position.view(*position.shape, *[1] * (tensor.dim() - 2))
    return tensor.gather(1, at.expand(*position.shape, *tensor.shape[2:]))
