"""Table memories as lists of what they hold: to look at, to compare, and to merge."""

from typing import NamedTuple

import torch
from torch import Tensor

from output_memory.tables import Heads, Tables
from output_memory.tables_native import AT, COLUMNS, DISTINCT, LAST, LINK, TOKEN


class Entries(NamedTuple):
    """What some tables hold, in the order of head, slot and token; all (n,).

    Attributes:
        head: int64.
        slot: int64.
        token: int64.
        weight: C[slot, token], as it is now.
        age: int64, tokens since it was last written.
    """

    head: Tensor
    slot: Tensor
    token: Tensor
    weight: Tensor
    age: Tensor


def entries(tables: Tables, heads: Heads) -> Entries:
    """List what tables hold."""
    used, now = tables.used.tolist()
    rows = tables.rows[: used + 1].long()
    row = (rows[1:, TOKEN] >= 0).nonzero().squeeze(-1) + 1
    owner = tables.key[row]
    head = -1 - rows[owner, TOKEN]
    idle = rows[owner, AT] - rows[row, AT]
    weight = (tables.weight[row] * heads.keep[head] ** idle).to(tables.weight)
    listed = Entries(head, tables.key[owner], rows[row, TOKEN], weight, now - rows[row, LAST])
    return total([listed])


def total(parts: list[Entries], signs: tuple[float, ...] = (1.0,)) -> Entries:
    """Sums of weights, entry by entry; the age is that of the youngest.

    What two memories have learned since their common ancestor is `total([one, other, ancestor],
    (1, 1, -1))`; what changed since an earlier one, `total([now, earlier], (1, -1))`.
    """
    places = torch.cat([torch.stack(part[:3], -1) for part in parts])
    weight = torch.cat([sign * part.weight for sign, part in zip(signs, parts, strict=True)])
    age = torch.cat([part.age for part in parts])
    unique, place = places.unique(dim=0, return_inverse=True)
    sums = weight.new_zeros(len(unique)).index_add_(0, place, weight)
    youngest = age.new_zeros(len(unique)).scatter_reduce_(0, place, age, "amin", include_self=False)
    kept = sums != 0
    head, slot, token = unique[kept].unbind(-1)
    return Entries(head, slot, token, sums[kept], youngest[kept])


def tables_of(listed: Entries, written: int) -> Tables:
    """Tables that hold these entries, those of weights above 0.

    Args:
        listed: in order, each once, as `entries` and `total` return them.
        written: how many tokens they have come from.
    """
    head, slot, token, weight, age = (part[listed.weight > 0] for part in listed)
    first = torch.ones_like(head, dtype=torch.bool)
    first[1:] = (head.diff() != 0) | (slot.diff() != 0)
    owner = first.cumsum(0) - 1
    row = torch.arange(1, len(head) + 1) + owner + 1  # a slot stands before its first entry
    slot_row = row[first] - 1
    used = len(head) + len(slot_row)
    key, rows = torch.zeros(used + 1, dtype=torch.int64), age.new_zeros(used + 1, COLUMNS)
    mass = weight.new_zeros(used + 1)
    key[row], mass[row], rows[row, TOKEN] = slot_row[owner], weight, token
    rows[row, LAST] = written - age
    rows[row[:-1], LINK] = torch.where(first[1:], 0, row[1:])
    key[slot_row], rows[slot_row, TOKEN] = slot[first], -1 - head[first]
    mass[slot_row] = weight.new_zeros(len(slot_row)).index_add_(0, owner, weight)
    rows[slot_row, LINK], rows[slot_row, DISTINCT] = row[first], owner.bincount()
    return Tables.of_tensors(key, mass, rows.int(), torch.tensor([used, written]))
