"""What tables hold, as a list: to look at, to compare, to merge, and to make tables of.

In the tables a row is either a slot, whose key is the slot's number and whose token is -1 - head,
or an entry of it, whose key is the slot's row. The weight of a slot is the sum of its entries, and
LINK leads from it through all of them. Row 0 is never used. Decay is lazy: AT says how often the
slot had been written when the entry last was; of the slot itself, how often it has been written.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

TOKEN, AT, LAST, LINK, DISTINCT = range(5)
"""Columns of a row. LAST: when an entry was last written; DISTINCT: how many entries a slot has."""
COLUMNS = 5
NEVER = torch.iinfo(torch.int64).max


class Entries(NamedTuple):
    """Some entries of tables, in the order of stream, head, slot and token; all (n,).

    Attributes:
        stream: int64, which of B.
        head: int64.
        slot: int64, its number.
        token: int64.
        weight: C[slot, token], as it is now.
        age: int64, tokens read since it was last written.
    """

    stream: Tensor
    head: Tensor
    slot: Tensor
    token: Tensor
    weight: Tensor
    age: Tensor

    def where(self, mask: Tensor) -> "Entries":
        """Those where a mask (n,) is True, or of some indices."""
        return Entries(*(part[mask] for part in self))


def align(*listings: Entries) -> list[Entries]:
    """The same listings, each with the entries of all: weight 0, age `NEVER`, if not its own."""
    columns = [torch.cat(parts) for parts in zip(*(listed[:4] for listed in listings), strict=True)]
    order, first = in_order(columns)
    place = torch.empty_like(order)
    place[order] = first.cumsum(0) - 1
    stream, head, slot, token = (column[order][first] for column in columns)
    made, many = [], len(stream)
    own = place.split([len(listed.head) for listed in listings])
    for listed, at in zip(listings, own, strict=True):
        weight = listed.weight.new_zeros(many).index_copy_(0, at, listed.weight)
        age = listed.age.new_full((many,), NEVER).index_copy_(0, at, listed.age)
        made.append(Entries(stream, head, slot, token, weight, age))
    return made


def in_order(columns: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The order by some columns (n,), the first of them before the others.

    Returns:
        (n,) int64; and (n,) bool, True where, in that order, other values than before begin.
    """
    order = torch.from_numpy(np.lexsort([column.numpy() for column in reversed(columns)]))
    first = torch.ones_like(order, dtype=torch.bool)
    first[1:] = torch.stack([column[order].diff() != 0 for column in columns]).any(0)
    return order, first


def rows_of(listed: Entries, steps: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tables that hold these entries, those of no weight left out.

    Args:
        listed: in order, each once.
        steps: (B,) int64, how many tokens each stream has read.

    Returns:
        key (n,), weight (n,) and rows (n, COLUMNS) of used rows, those of all streams one after the
        other, and used (B, 2), as `TableWeights` has them.
    """
    stream, head, slot, token, weight, age = listed.where(listed.weight > 0)
    _, first = in_order([stream, head, slot])
    owner = first.cumsum(0) - 1
    place = torch.arange(len(owner)) + owner + 1  # a slot stands before its first entry
    slot_place = place[first] - 1
    streams = torch.cat([stream, stream[first]])
    many = torch.bincount(streams, minlength=len(steps))
    before = many.cumsum(0) - many - 1  # row r of a stream is in place before + r
    row, slot_row = place - before[stream], slot_place - before[stream[first]]

    key, mass = slot.new_zeros(len(streams)), weight.new_zeros(len(streams))
    rows = torch.zeros(len(streams), COLUMNS, dtype=torch.int32)
    key[place], mass[place] = slot_row[owner], weight
    key[slot_place] = slot[first]
    mass[slot_place] = weight.new_zeros(len(slot_row)).index_add_(0, owner, weight)
    rows[place, TOKEN], rows[slot_place, TOKEN] = token.int(), -1 - head[first].int()
    rows[place, LAST] = (steps[stream] - age).int()
    rows[place[:-1], LINK] = torch.where(first[1:], 0, row[1:]).int()
    rows[slot_place, LINK], rows[slot_place, DISTINCT] = row[first].int(), owner.bincount().int()
    return key, mass, rows, torch.stack([many, steps], -1)
