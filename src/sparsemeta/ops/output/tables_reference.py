"""Table memory as dictionaries of dictionaries: the ground truth of the compiled form.

A head is a table slot -> weights of the tokens that came in its context, C[s, y].

    read    p_h(y) = sum_s r_s C[s, y] / sum_s r_s |C[s]|    before the token is written
    write   C[s, .] *= rho_h;  C[s, x_t] += r_s              s of the context before x_t

An exact context has one slot, read with r = 1; a learned one has those that its address names.
A cache has none: it keeps hidden states, each with the token that followed it, and its p is

    p(y) = sum of softmax_i(tau k_i . k_t) over the states i that y followed    (Grave et al. 2016)

Heads whose contexts extend each other share the work, as in PPM (Cleary and Witten 1984): where a
longer context already knew the token, the shorter ones are not written (update exclusion); and a
slot is made only where the shorter context was known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sparsemeta.ops.output.gate_reference import SETS, Evidence, learn, speaks, weights
from sparsemeta.ops.output.heads import BYTES, CACHED, LEARNED, TOKENS, Heads
from sparsemeta.ops.types import Address

State = tuple[Tensor, Tensor]
"""A hidden state, each (K,): as it is kept, k, and as others are compared with it, tau k."""
Context = Sequence[tuple[tuple[int, ...], Tensor]]
"""The slots of a head and the share of each: one slot of what came last, or none where not so much
has come; or those that are learned."""


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

    def write(self, token: int, share: float, keep: float, now: int) -> None:
        """Let all of it decay, then add."""
        self.weight = {y: keep * w for y, w in self.weight.items()}
        self.weight[token] = self.weight.get(token, 0.0) + share
        self.last[token] = now


@dataclass
class ReferenceTables:
    """The tables of all heads, for one stream; no more than `capacity` rows, slots and entries."""

    heads: Heads
    capacity: int
    tables: list[dict[tuple[int, ...], Slot]] = field(init=False)
    now: int = 0

    def __post_init__(self) -> None:
        self.tables = [{} for _ in self.heads.order]

    def read(self, contexts: Sequence[Context], classes: int) -> tuple[Tensor, Evidence]:
        """P (H, V), zero where a head abstains, and the evidence."""
        p = torch.zeros(len(contexts), classes, dtype=torch.float64)
        mass, distinct = torch.zeros(2, len(contexts), dtype=torch.float64)
        for h, (table, context) in enumerate(zip(self.tables, contexts, strict=True)):
            counts = torch.zeros(classes, dtype=torch.float64)
            for name, share in context:
                slot = table.get(name, Slot())
                distinct[h] += share.detach() * len(slot.weight)
                for y, weight in slot.weight.items():
                    counts[y] += share * weight
            mass[h] = counts.detach().sum()
            if mass[h] > 0:
                p[h] = counts / counts.sum()
        return p, Evidence(mass, distinct)

    def write(self, contexts: Sequence[Context], token: int) -> None:
        """Learn that this token came in these contexts."""
        if self.rows + 2 * int(self.heads.slots.sum()) > self.capacity:
            self._evict()
        _, _, keep, longer, shorter = (part.tolist() for part in self.heads)
        pairs = list(zip(self.tables, contexts, strict=True))
        seen = [any(s in table for s, _ in context) for table, context in pairs]
        knew = [
            any(s in table and token in table[s].weight for s, _ in context)
            for table, context in pairs
        ]
        for h in reversed(range(len(knew))):  # what a longer context knew, all shorter ones know
            knew[h] = knew[h] or (longer[h] >= 0 and knew[longer[h]])
        self.now += 1
        for h, (table, context) in enumerate(pairs):
            excluded = longer[h] >= 0 and knew[longer[h]]
            waits = shorter[h] >= 0 and not seen[shorter[h]]
            if not excluded and (seen[h] or not waits):
                for s, share in context:
                    table.setdefault(s, Slot()).write(token, share.item(), keep[h], self.now)

    @property
    def rows(self) -> int:
        """How many slots and entries it holds."""
        return sum(1 + len(slot.weight) for table in self.tables for slot in table.values())

    def _evict(self) -> None:
        """Drop the quarter of all entries with the least weight per step since last written."""
        slots = [slot for table in self.tables for slot in table.values()]
        worth = [w / (self.now - s.last[y] + 1) for s in slots for y, w in s.weight.items()]
        least = sorted(worth)[len(worth) // 4]
        for slot in slots:
            age = {y: self.now - slot.last[y] + 1 for y in slot.weight}
            slot.weight = {y: w for y, w in slot.weight.items() if w / age[y] > least}
        self.tables = [{s: slot for s, slot in t.items() if slot.weight} for t in self.tables]


@dataclass
class ReferenceMemory:
    """Tables and gate of one stream, a token at a time.

    Args:
        heads: the contexts.
        spelling: the last bytes of each token.
        capacity: rows at most.
        rates: of the gate.
        start: (H, EVIDENCE) float64, the trained part of the gate.
    """

    heads: Heads
    spelling: Sequence[Sequence[int]]
    capacity: int
    rates: tuple[float, float]
    start: Tensor

    def __post_init__(self) -> None:
        self.empty()

    def empty(self) -> None:
        """Forget everything."""
        self.tables = ReferenceTables(self.heads, self.capacity)
        self.came: list[int] = []
        self.theta = torch.zeros(len(self.start), SETS, dtype=torch.float64)
        self.moved = torch.zeros_like(self.theta)
        self.pending: tuple[Tensor, Tensor, State | None] | None = None
        self.cache: list[tuple[Tensor, int]] = []
        self.address: Sequence[Context] = [()] * int((self.heads.kind == LEARNED).sum())

    def contexts(self) -> list[Context]:
        """What each head goes by."""
        recent = self.came[-self.heads.reach :]
        letters = [letter for token in recent for letter in self.spelling[token]]
        exact = [
            (letters if kind == BYTES else self.came, n)
            for kind, n in zip(self.heads.kind.tolist(), self.heads.order.tolist(), strict=True)
            if kind in (TOKENS, BYTES)
        ]
        whole = torch.ones((), dtype=torch.float64)
        return [
            *[()] * len(self.cached),
            *self.address,
            *([(tuple(came[len(came) - n :]), whole)][: len(came) >= n] for came, n in exact),
        ]

    @property
    def cached(self) -> list[int]:
        """How many states a cache keeps, if there is one."""
        return self.heads.order[self.heads.kind == CACHED].tolist()

    def say(self, classes: int) -> tuple[Tensor, Evidence]:
        """What the tables and the cache say of the next token: p (H, V), and their evidence."""
        p, evidence = self.tables.read(self.contexts(), classes)
        if self.cache and self.pending is not None and self.pending[2] is not None:
            keys, tokens = zip(*self.cache, strict=True)
            share = (torch.stack(keys) @ self.pending[2][1]).softmax(0)
            alike = torch.zeros_like(p[0]).index_add(0, torch.tensor(tokens), share)
            p = torch.cat([alike[None], p[1:]])
            evidence.mass[0], evidence.distinct[0] = len(keys), 1
        return p, evidence

    def recent(self) -> tuple[int, int]:
        """The last token and the one before it; -1 where there is none."""
        before, last = [-1, -1, *self.came][-2:]
        return last, before

    def read(self, token: int) -> None:
        """Learn the token that came."""
        contexts = self.contexts()
        if self.pending is not None:
            log_p, slow, state = self.pending
            p, evidence = self.say(len(log_p))
            recent = self.recent()
            e = speaks(evidence, self.start.detach(), self.theta, slow, recent)
            given = torch.cat([log_p.exp()[None, token], p[:, token].detach()])
            rest = self.theta, self.moved, self.start.detach(), self.rates, recent
            self.theta, self.moved = learn(evidence, e, given, *rest)
            if state is not None:
                self.cache = [*self.cache, (state[0], token)][-self.cached[0] :]
        self.tables.write(contexts, token)
        self.came.append(token)

    def predict(
        self,
        log_p: Tensor,
        slow: Tensor,
        address: Address | None = None,
        state: State | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Mix what the model and the heads say of the next token.

        Args:
            log_p: (V,) float64.
            slow: (H,) float64.
            address: of the learned contexts, each (heads, A).
            state: the hidden state, if there is a cache.

        Returns:
            log q (V,), and the weights (1 + H,) of the model and the heads.
        """
        self.pending = log_p.detach(), slow.detach(), state
        if address is not None:
            self.address = [
                [((s,), share) for s, share in zip(slots, shares, strict=True)]
                for slots, shares in zip(address.index.tolist(), address.weight, strict=True)
            ]
        p, evidence = self.say(len(log_p))
        w = weights(speaks(evidence, self.start, self.theta, slow, self.recent()))
        return (w @ torch.cat([log_p.exp()[None], p])).log(), w
