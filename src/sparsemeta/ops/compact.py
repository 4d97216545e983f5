"""From a table of N slots to the few rows that a segment touches, and back.

Everything after this costs what was touched, not what there is. A reset needs no operation of its
own: a slot named after a reset is another row than the same slot named before it, and starts empty.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Rows(NamedTuple):
    """The rows of a table (B, H, N, V) that a segment touches, U at most in any head.

    Attributes:
        slot: (B, H, U) int64, the slot of each row; N where a head has fewer than U rows.
        opened: (B, H, U) bool, True for rows that begin empty, after a reset.
        kept: (B, H, U) bool, True for rows that outlive the segment: no later reset empties them.
        write_index: (B, T, H, A) int64, the write address in rows.
        read_index: (B, T, H, R) int64, the read address in rows.
    """

    slot: Tensor
    opened: Tensor
    kept: Tensor
    write_index: Tensor
    read_index: Tensor


def compact(write_index: Tensor, read_index: Tensor, reset: Tensor | None, slots: int) -> Rows:
    """Name the touched rows of every head 0, 1, 2, ... in the order of their slots.

    Args:
        write_index: (B, T, H, A) int64 in [0, slots).
        read_index: (B, T, H, R) int64 in [0, slots).
        reset: (B, T) bool or None.
        slots: N.
    """
    active = write_index.shape[-1]
    both = torch.cat([write_index, read_index], dim=-1)
    life = None if reset is None else reset.cumsum(1)  # how many resets came before this step
    if life is not None:
        both = both + slots * life[:, :, None, None]
    named = both.transpose(1, 2).flatten(2)  # (B, H, T * (A + R))
    key, order = named.sort(dim=-1)
    rank = torch.zeros_like(key)
    rank[..., 1:] = (key[..., 1:] != key[..., :-1]).cumsum(-1)
    width = int(rank[..., -1].max()) + 1
    rows = torch.empty_like(named).scatter_(-1, order, rank)
    rows = rows.unflatten(2, (both.shape[1], both.shape[3])).transpose(1, 2)
    unused = -1
    key = torch.full((*key.shape[:2], width), unused, device=key.device).scatter_(-1, rank, key)
    slot = torch.where(key == unused, slots, key % slots)
    if life is None:
        opened, kept = torch.zeros_like(key, dtype=torch.bool), key != unused
    else:
        opened = key >= slots
        kept = (key != unused) & (key // slots == life[:, -1, None, None])
    return Rows(slot, opened, kept, rows[..., :active], rows[..., active:])


def take(table: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, H, U, V) of a table (B, H, N, V); an index of N gives some row, never an error."""
    batch = torch.arange(table.shape[0], device=table.device)[:, None, None]
    head = torch.arange(table.shape[1], device=table.device)[:, None]
    # Not gather: that would save the table for the backward pass, and it may be overwritten.
    return table[batch, head, rows.clamp(max=table.shape[2] - 1)]


def put(table: Tensor, rows: Rows, values: Tensor) -> Tensor:
    """Overwrite the kept rows of a table (B, H, N, V) with `values` (B, H, U, V); return it."""
    b, h, u = rows.kept.nonzero(as_tuple=True)
    return table.index_put_((b, h, rows.slot[b, h, u]), values[b, h, u])
