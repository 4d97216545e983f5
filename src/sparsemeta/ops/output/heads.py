"""`Heads`: which contexts a table memory keeps, and who extends whom."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

KINDS = ("token", "byte", "learned slot", "hidden state")
TOKENS, BYTES, LEARNED, CACHED = range(len(KINDS))
"""How a head knows a context again: by a hash of the last tokens or bytes, which numbers a slot; by
the slots that trained keys find; or by its likeness to those of a cache, which have no slots."""
GROWS = 4
"""From so many tokens on, a slot is made only where the next shorter context was known."""


class Heads(NamedTuple):
    """The heads of a table memory, from the shortest context to the longest; each (H,).

    Attributes:
        kind: int64, of what a context is made, as in `KINDS`.
        order: int64, of how many: the last tokens, bytes or states, or the slots that are nearest.
        keep: float64 in [0, 1], rho: what a slot keeps of its weights when it is written.
        longer: int64, a later head: where it knows the token, this one is not written (update
            exclusion); -1 for none.
        shorter: int64, the head whose slot must be known before one is made here; -1 for none.
    """

    kind: Tensor
    order: Tensor
    keep: Tensor
    longer: Tensor
    shorter: Tensor

    @classmethod
    def of(
        cls,
        orders: Sequence[int],
        fading: Sequence[tuple[int, float]] = (),
        spelled: Sequence[int] = (),
        learned: Sequence[tuple[int, float]] = (),
        cached: int = 0,
    ) -> "Heads":
        """Put contexts in the order in which the gate asks them.

        A cache comes first, then learned contexts. Those of bytes stand between that of no token
        and that of one: they are more general than one token where that is long, and more special
        than none. Contexts of tokens that forget nothing extend each other, as do those of bytes.

        Args:
            orders: contexts of the last n tokens, rising.
            fading: contexts of n tokens that forget, and what they keep.
            spelled: contexts of the last n bytes, rising.
            learned: contexts of the n slots whose keys are nearest, and what these keep.
            cached: how many hidden states a cache holds; 0 is none.
        """
        made = [(float(n), -1.0, TOKENS, n, True) for n in orders]
        made += [(float(n), -keep, TOKENS, n, False) for n, keep in fading]
        made += [(0.5, -1.0, BYTES, n, True) for n in spelled]
        made += [(-1.0, -keep, LEARNED, n, False) for n, keep in learned]
        made += [(-2.0, -1.0, CACHED, cached, False)] if cached else []
        made.sort(key=lambda head: head[:2])
        longer, shorter = [-1] * len(made), [-1] * len(made)
        last: dict[int, int] = {}
        for h, (_, _, kind, order, extends) in enumerate(made):
            if extends and kind in last:
                longer[last[kind]] = h
                shorter[h] = last[kind] if kind == TOKENS and order >= GROWS else -1
            if extends:
                last[kind] = h
        _, keep, kind, order, _ = zip(*made, strict=True)
        with torch.device("cpu"):  # also where the model around is made on `meta`
            return cls(
                torch.tensor(kind),
                torch.tensor(order),
                -torch.tensor(keep, dtype=torch.float64),
                torch.tensor(longer),
                torch.tensor(shorter),
            )

    @property
    def slots(self) -> Tensor:
        """(H,) int64, how many slots each looks at."""
        return torch.where(self.kind == LEARNED, self.order, self.exact.long())

    @property
    def exact(self) -> Tensor:
        """(H,) bool, which know a context by what came last."""
        return (self.kind == TOKENS) | (self.kind == BYTES)

    @property
    def learned(self) -> int:
        """How many slots the learned ones look at, all together: L."""
        return int(self.order[self.kind == LEARNED].sum())

    @property
    def reach(self) -> int:
        """How many tokens of the past are needed; a token has one byte at least, the gate two."""
        return max([2, *self.order[self.exact].tolist()])

    @property
    def names(self) -> list[str]:
        """Each head in words."""
        kinds = zip(*(part.tolist() for part in self[:3]), strict=True)
        return [
            _context(*kind) + ("" if keep == 1 else f", keep {keep:g}") for *kind, keep in kinds
        ]


def _context(kind: int, order: int) -> str:
    if order == 0:
        return "no context"
    which, what = ("nearest" if kind == LEARNED else "last"), KINDS[kind]
    return f"{which} {what}" if order == 1 else f"{which} {order} {what}s"
