"""`Tables`: what the heads of a table memory know, as plain tensors; read, written and listed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from output_memory import tables_native as native
from sparsemeta.errors import require

START = 256
"""Rows that tables begin with."""


@dataclass(frozen=True)
class Heads:
    """How each head of a table memory forgets, and how it shares the work with others.

    Attributes:
        keep: (H,) float64 in [0, 1], rho: what a slot keeps of its weights when it is written.
        longer: (H,) int64, a later head: where it knows the token, this one is not written (update
            exclusion); -1 for none.
        shorter: (H,) int64, the head whose slot must be known before one is made here; -1 for none.
    """

    keep: Tensor
    longer: Tensor
    shorter: Tensor

    @classmethod
    def of(cls, keep: Sequence[float], longer: Sequence[int], shorter: Sequence[int]) -> Self:
        """From plain numbers.

        Raises:
            ConfigError: rho is no share, or a link leads to no head.
        """
        heads = len(keep)
        require(all(0 <= rho <= 1 for rho in keep), "what a head keeps must be from 0 to 1")
        require(
            len(longer) == heads
            and all(one == -1 or h < one < heads for h, one in enumerate(longer)),
            f"longer must name a later head of {heads}, or -1, for each",
        )
        require(
            len(shorter) == heads and all(-1 <= one < heads for one in shorter),
            f"shorter must name a head of {heads}, or -1, for each",
        )
        return cls(torch.tensor(keep, dtype=torch.float64), *map(torch.tensor, (longer, shorter)))


class Found(NamedTuple):
    """What the heads said of each token of a segment before it was written, each (T, H).

    Attributes:
        p: its probability; 0 where the head abstains.
        mass: how much its slots hold, weighted; 0 where the head abstains.
        distinct: int32, how many outcomes they hold.
    """

    p: Tensor
    mass: Tensor
    distinct: Tensor


@dataclass(frozen=True)
class Tables:
    """The tables of one stream. An immutable value: writing returns a new one.

    Attributes:
        key: (R,) int64, weight: (R,) and rows: (R, COLUMNS) int32, see `tables_native`.
        used: (2,) int64, how many rows are used, and how many tokens were written.
        bucket: (M,) int32, the hash table; it follows from the rows.
    """

    key: Tensor
    weight: Tensor
    rows: Tensor
    used: Tensor
    bucket: Tensor

    @classmethod
    def empty(cls, dtype: torch.dtype = torch.float32) -> Self:
        """No head knows anything."""
        rows = torch.zeros(START, native.COLUMNS, dtype=torch.int32)
        weight, used = torch.zeros(START, dtype=dtype), torch.zeros(2, dtype=torch.int64)
        return cls.of_tensors(used.new_zeros(START), weight, rows, used)

    @classmethod
    def of_tensors(cls, key: Tensor, weight: Tensor, rows: Tensor, used: Tensor) -> Self:
        """From all but the hash table, which is built anew."""
        bucket = torch.zeros(1 << (2 * len(key) - 1).bit_length(), dtype=torch.int32)
        with np.errstate(over="ignore"):
            native.rebuild(key.numpy(), rows.numpy(), bucket.numpy(), used.numpy())
        return cls(key, weight, rows, used, bucket)

    def tensors(self) -> dict[str, Tensor]:
        """All but the hash table, without the rows that are not used."""
        rows = int(self.used[0]) + 1
        return {
            "key": self.key[:rows],
            "weight": self.weight[:rows],
            "rows": self.rows[:rows],
            "used": self.used,
        }

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return sum(tensor.nbytes for tensor in vars(self).values())

    def clone(self) -> Self:
        """A copy that shares no storage."""
        return replace(self, **{name: tensor.clone() for name, tensor in vars(self).items()})

    def score_and_write(
        self,
        slots: Tensor,
        weights: Tensor,
        tokens: Tensor,
        heads: Heads,
        capacity: int,
        *,
        donate: bool = False,
    ) -> tuple[Found, Self]:
        """Score each token of a segment in every head, and then write it there.

        Args:
            slots: (T, H, A) int64, the context that predicts each token, an address of A slots.
            weights: (T, H, A), at least 0; 0 where there is no slot.
            tokens: (T,) int64.
            heads: how they forget and extend each other.
            capacity: rows at most; where they are full, the quarter of all entries that is oldest
                and rarest is dropped.
            donate: allow these tables to be overwritten.

        Returns:
            What was known of each token, and the tables after.

        Raises:
            ConfigError: the capacity is less than what one token may write.
        """
        time, count, active = slots.shape
        most = 2 * count * active
        require(capacity >= 8 * most, f"the tables need a capacity of {8 * most} rows at least")
        room = min(capacity, int(self.used[0]) + most * time) + 1
        after = self._grown(room, capacity + 1) if room > len(self.key) else self
        after = after if donate or after is not self else self.clone()
        p, mass = weights.new_zeros(2, time, count, dtype=self.weight.dtype)
        distinct = torch.zeros(time, count, dtype=torch.int32)
        address = slots, weights.to(p.dtype), tokens, *vars(heads).values()
        state = after.key, after.weight, after.rows, after.bucket, after.used
        with np.errstate(over="ignore"):  # hashes wrap around
            arrays = (x.numpy() for x in (*address, *state, p, mass, distinct))
            native.score_and_write(capacity, *arrays)
        return Found(p, mass, distinct), after

    def outcomes(self, slots: Tensor, weights: Tensor, heads: Heads) -> list[tuple[Tensor, Tensor]]:
        """The whole distribution of each head, sparse: its tokens and their probabilities.

        Args:
            slots: (H, A) int64, one context.
            weights: (H, A).
            heads: how they forget.

        Returns:
            For each head, tokens (n,) int64 and probabilities (n,) that sum to one, none where it
            abstains. A token may be named once for each slot: its probabilities add up.
        """
        found, state = [], (self.key, self.weight, self.rows, self.bucket)
        most = int(self.used[0])
        tokens, p = torch.empty(most, dtype=torch.int64), self.weight.new_empty(most)
        for h, (address, weight) in enumerate(zip(slots, weights.to(p.dtype), strict=True)):
            with np.errstate(over="ignore"):
                n = native.outcomes_of(
                    *(address.numpy(), weight.numpy(), h, float(heads.keep[h])),
                    *(x.numpy() for x in (*state, tokens, p)),
                )
            found.append((tokens[:n].clone(), p[:n].clone()))
        return found

    def _grown(self, room: int, most: int) -> Self:
        """The same with more rows, at least `room`: twice as many, but never more than `most`."""
        more = max(room, min(2 * len(self.key), most)) - len(self.key)
        key, weight = pad(self.key, (0, more)), pad(self.weight, (0, more))
        return self.of_tensors(key, weight, pad(self.rows, (0, 0, 0, more)), self.used.clone())
