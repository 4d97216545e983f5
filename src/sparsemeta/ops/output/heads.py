"""`Heads`: which contexts a table memory keeps, and who extends whom."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

GROWS = 4
"""From so many tokens on, a slot is made only where the next shorter context was known."""


class Heads(NamedTuple):
    """The heads of a table memory, from the shortest context to the longest; each (H,).

    Attributes:
        spelled: bool, whether a context is made of bytes, else of tokens.
        order: int64, how many of the last ones it is.
        keep: float64 in [0, 1], rho: what a slot keeps of its weights when it is written.
        longer: int64, a later head: where it knows the token, this one is not written (update
            exclusion); -1 for none.
        shorter: int64, the head whose slot must be known before one is made here; -1 for none.
    """

    spelled: Tensor
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
    ) -> "Heads":
        """Put contexts in the order in which the gate asks them.

        Contexts of bytes stand between that of no token and that of one: they are more general
        than one token where that is long, and more special than none. Contexts of tokens that
        forget nothing extend each other, and so do those of bytes.

        Args:
            orders: contexts of the last n tokens, rising.
            fading: contexts of n tokens that forget, and what they keep.
            spelled: contexts of the last n bytes, rising.
        """
        made = [(float(n), -1.0, "tokens", n) for n in orders]
        made += [(float(n), -keep, "", n) for n, keep in fading]
        made += [(0.5, -1.0, "bytes", n) for n in spelled]
        made.sort(key=lambda head: head[:2])
        longer, shorter = [-1] * len(made), [-1] * len(made)
        last: dict[str, int] = {}
        for h, (_, _, family, order) in enumerate(made):
            if family and family in last:
                longer[last[family]] = h
                shorter[h] = last[family] if family == "tokens" and order >= GROWS else -1
            last[family] = h
        with torch.device("cpu"):  # wherever the modules of a model are made
            return cls(
                torch.tensor([family == "bytes" for _, _, family, _ in made]),
                torch.tensor([order for *_, order in made]),
                torch.tensor([-keep for _, keep, _, _ in made], dtype=torch.float64),
                torch.tensor(longer),
                torch.tensor(shorter),
            )

    @property
    def reach(self) -> int:
        """How many tokens of the past its contexts need; a token has one byte at least."""
        return max(1, int(self.order.max()))

    @property
    def names(self) -> list[str]:
        """Each head in words."""
        kinds = zip(*(part.tolist() for part in self[:3]), strict=True)
        return [
            _context(*kind) + ("" if keep == 1 else f", keep {keep:g}") for *kind, keep in kinds
        ]


def _context(spelled: bool, order: int) -> str:
    if order == 0:
        return "no context"
    what = "byte" if spelled else "token"
    return f"last {what}" if order == 1 else f"last {order} {what}s"
