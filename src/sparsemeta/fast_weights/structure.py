"""Whether what a file says are tables can be some: before any loop follows their links."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sparsemeta.fast_weights.entries import AT, DISTINCT, LAST, LINK, TOKEN, in_order

PARTS = ("key", "weight", "rows", "used", "recent", "theta", "moved", "keep")
"""Of `TableWeights`, in a file."""


def check_tables(shape: Sequence[int], parts: Mapping[str, Tensor], classes: int) -> None:
    """Check the parts that `TableWeights.stored` gives, whose sizes have been checked.

    Args:
        shape: B, H, S and L.
        parts: by name, of the right dtypes; their numbers are finite.
        classes: V, tokens are below.

    Raises:
        ValueError: something does not agree with something else.
    """
    key, weight, rows, used, recent, _, moved, keep = (parts[name] for name in PARTS)
    many = used[:, 0]
    fits = (used >= 0).all() and (many <= len(key)).all() and many.sum() == len(key)
    _require(fits, "counts that are not those of its rows")
    _require((keep >= 0).all() and (keep <= 1).all() and (moved >= 0).all(), "a gate out of range")
    known = recent >= 0
    _require((recent >= -1).all() and (recent < classes).all(), "tokens that there are not")
    _require((known[:, 1:] >= known[:, :-1]).all(), "tokens with gaps between them")
    _require((weight >= 0).all(), "weights below zero")

    # From here on rows are numbered through all streams, from 0; the one after the last is none.
    stream = torch.arange(len(used)).repeat_interleave(many)
    before = (many.cumsum(0) - many)[stream] - 1
    token, at, last, link, distinct = (rows[:, i].long() for i in (TOKEN, AT, LAST, LINK, DISTINCT))
    slot, here = token < 0, torch.arange(len(key))
    _require((token >= -shape[1]).all() and (token < classes).all(), "heads or tokens out of range")
    inside = (link >= 0) & (link <= many[stream]) & (key >= 0) & (slot | (key > 0))
    _require((inside & (slot | (key <= many[stream]))).all(), "rows that lead out of the table")
    owner = torch.where(slot, here, before + key)
    _require(slot[owner].all(), "entries of no slot")
    _require(in_order([stream, key, token])[1].all(), "a row twice")
    _require(((at >= 0) & (at <= at[owner])).all(), "entries that were written before their slots")
    _require(((last >= 0) & (last <= used[stream, 1])).all(), "entries of another time")
    entries = torch.bincount(owner, minlength=len(key)) - 1
    _require(torch.equal(distinct, torch.where(slot, entries, 0)), "slots of other sizes")

    linked, target = link > 0, before + link
    _require((owner[target[linked]] == owner[linked]).all(), "links between slots")
    led_to = torch.bincount(target[linked], minlength=len(key))
    _require(torch.equal(led_to, (~slot).long()), "entries that no link leads to, or several")
    follow = torch.cat([torch.where(linked, target, len(key)), torch.tensor([len(key)])])
    for _ in range(len(key).bit_length()):  # each time twice as many links at once
        if (follow == len(key)).all():
            break
        follow = follow[follow]
    _require((follow == len(key)).all(), "links in a circle")


def _require(holds: Tensor | bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
