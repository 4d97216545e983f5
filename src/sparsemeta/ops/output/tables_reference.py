"""Table memory as dictionaries of dictionaries: the ground truth of the compiled form.

A head is a table slot -> weights of the tokens that came when the slot was addressed, C[s, y].

    read    p_h(y) = sum_s w_s C[s, y] / sum_s w_s |C[s]|      before the token is written
    write   C[s, .] *= rho_h;  C[s, x_t] += w_s                s in the address of the token

Heads whose contexts extend each other can share the work, as in PPM (Cleary and Witten 1984): where
a longer context already knew the token, the shorter ones are not written (update exclusion); and a
slot is made only where the shorter context was known.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

Address = Sequence[tuple[int, float]]
"""Slots and their weights; empty where there is no context."""


@dataclass
class Slot:
    """What followed one context."""

    weight: dict[int, float] = field(default_factory=dict)
    last: dict[int, int] = field(default_factory=dict)
    """When each token was last written."""

    @property
    def mass(self) -> float:
        """|C[s]|, the sum of its weights."""
        return sum(self.weight.values())

    def write(self, token: int, weight: float, keep: float, now: int) -> None:
        """Let all of it decay, then add."""
        self.weight = {y: keep * w for y, w in self.weight.items()}
        self.weight[token] = self.weight.get(token, 0.0) + weight
        self.last[token] = now


@dataclass
class ReferenceTables:
    """The tables of all heads, for one stream.

    Args:
        keep: rho of each head.
        longer: a later head: where it knows the token, this one is not written; -1 for none.
        shorter: the head whose slot must be known before one is made here; -1 for none.
        capacity: rows at most, a slot and each of its tokens being one.
    """

    keep: Sequence[float]
    longer: Sequence[int]
    shorter: Sequence[int]
    capacity: int
    heads: list[dict[int, Slot]] = field(init=False)
    now: int = 0

    def __post_init__(self) -> None:
        self.heads = [{} for _ in self.keep]

    def distribution(self, h: int, address: Address) -> dict[int, float]:
        """p_h: empty where the head abstains."""
        found: dict[int, float] = defaultdict(float)
        known = [(self.heads[h][s], w) for s, w in address if s in self.heads[h]]
        whole = sum(w * slot.mass for slot, w in known)
        for slot, w in known:
            for y, weight in slot.weight.items():
                found[y] += w * weight / whole
        return dict(found)

    def features(self, h: int, address: Address) -> tuple[float, int]:
        """Mass and number of distinct outcomes, summed over the address."""
        known = [(self.heads[h][s], w) for s, w in address if s in self.heads[h]]
        return sum(w * slot.mass for slot, w in known), sum(len(slot.weight) for slot, _ in known)

    def write(self, addresses: Sequence[Address], token: int) -> None:
        """Learn that this token came, in the context that each head was asked about."""
        tables = list(zip(self.heads, addresses, strict=True))
        seen = [any(s in table for s, _ in address) for table, address in tables]
        knew = [any(s in t and token in t[s].weight for s, _ in adr) for t, adr in tables]
        for h in reversed(range(len(tables))):  # what a longer context knew, all shorter ones know
            knew[h] = knew[h] or (self.longer[h] >= 0 and knew[self.longer[h]])
        if self._rows() + 2 * sum(map(len, addresses)) > self.capacity:
            self._evict()
        self.now += 1
        for h, (table, address) in enumerate(zip(self.heads, addresses, strict=True)):
            excluded = self.longer[h] >= 0 and knew[self.longer[h]]
            grows = self.shorter[h] < 0 or seen[self.shorter[h]]
            for s, w in address if not excluded else ():
                if s in table or grows:
                    table.setdefault(s, Slot()).write(token, w, self.keep[h], self.now)

    def _rows(self) -> int:
        return sum(1 + len(slot.weight) for table in self.heads for slot in table.values())

    def _evict(self) -> None:
        """Drop the quarter of all entries with the least weight per step since last written."""
        slots = [slot for table in self.heads for slot in table.values()]
        worth = [w / (self.now - s.last[y] + 1) for s in slots for y, w in s.weight.items()]
        least = sorted(worth)[len(worth) // 4]
        for slot in slots:
            age = {y: self.now - slot.last[y] + 1 for y in slot.weight}
            slot.weight = {y: w for y, w in slot.weight.items() if w / age[y] > least}
        self.heads = [{s: slot for s, slot in t.items() if slot.weight} for t in self.heads]
