"""`TableMemory`: what followed a context, mixed into a model's prediction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparsemeta.config import MemoryConfig, TablesConfig
from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights, TableLayout, TableWeights
from sparsemeta.nn.adaptive import AdaptiveLayer
from sparsemeta.nn.parts import Addressing
from sparsemeta.nn.sparse_memory import NAME
from sparsemeta.ops import (
    EVIDENCE,
    SETS,
    Address,
    Came,
    Gate,
    Heads,
    Memory,
    Rules,
    Tables,
    check_tokens,
    predict,
    roomy,
    score,
)

FOUND = ("slots", "active", "key_width", "addressing")
"""What of the settings says how a learned context is found."""
START = -2.0
"""Logit of a head's speaking rather than backing off, before anything is trained or learned."""


class Pending(NamedTuple):
    """What was predicted for the token that comes next.

    Attributes:
        log_p: (B, V), the model's log-probabilities; NaN where nothing was predicted.
        gate: (B, H), the slow part of the gate.
        slots: (B, L) int64, those of all learned contexts; -1 where nothing was predicted.
        shares: (B, L), their weights.
    """

    log_p: Tensor
    gate: Tensor
    slots: Tensor
    shares: Tensor

    def blank(self) -> "Pending":
        """As it is before anything was predicted; of predictions with an axis of time."""
        log_p, gate, slots, shares = (torch.zeros_like(x[:, 0]) for x in self)
        return Pending(log_p + nan, gate, slots - 1, shares)


class TableMemory(AdaptiveLayer):
    r"""Tables context -> weights of the tokens that followed it, and a gate that learns online.

    $$q = w_0 p_{model} + \sum_h w_h p_h, \quad p_h(y) = C_h[s_h, y] / |C_h[s_h]|$$

    where head h has a slot s_h for each context of its kind. The weights w sum to one; a head that
    has not seen the context has none. Each token is scored, then learned: by the gate, from what
    the model and the heads had said of it, and by the tables.

    A context is exact, what came last; or learned: the slots whose keys are nearest to the hidden
    state, r of unit length, which are read and written together.

    $$p_h(y) = \sum_{s \in r} r_s C_h[s, y] / \sum_{s \in r} r_s |C_h[s]|, \quad
    C_h[s] \leftarrow \rho_h C_h[s] + r_s 1_{x}$$

    Args:
        width: D, of the hidden state, of which the slow part of the gate and learned contexts are
            functions.
        classes: V.
        config: the contexts, and how fast the gate learns.

    >>> layer = TableMemory(32, 100, TablesConfig())
    >>> came, logits = torch.randint(100, (1, 11)), torch.randn(1, 10, 100)
    >>> hidden = torch.randn(1, 10, 32)
    >>> log_q, state, pending = layer(hidden, came[:, :-1], logits, targets=came[:, 1:])
    >>> log_q, state, pending = layer(hidden, came[:, 1:], logits, state, pending, steps=1)
    >>> log_q.shape, state.batch, round(log_q.exp().sum().item(), 4)
    (torch.Size([1, 1, 100]), 1, 1.0)
    """

    kind = "tables"
    spelling: Tensor

    def __init__(self, width: int, classes: int, config: TablesConfig):
        super().__init__()
        self.width, self.classes, self.config = width, classes, config
        fading = zip(config.fading_orders, config.fading, strict=True)
        learned = [(config.active, keep) for keep in config.learned]
        self.heads = Heads.of(config.orders, tuple(fading), config.bytes, learned)
        self.rules = Rules(self.heads, config.capacity, config.rate, config.least_rate)
        heads = len(self.heads.order)
        self._layout = TableLayout(heads, SETS, self.heads.reach, config.capacity, classes)
        self.start = nn.Parameter(torch.full((heads, EVIDENCE), START))
        self.slow = nn.Linear(width, heads, bias=False)
        nn.init.zeros_(self.slow.weight)
        self.addressing = None
        if learned:
            found = {name: getattr(config, name) for name in FOUND}
            self.addressing = Addressing(width, MemoryConfig(heads=len(learned), **found))
        blank = torch.full((classes, max(config.bytes, default=0)), -1, dtype=torch.int32)
        self.register_buffer("spelling", blank)
        self._watchers: list[list[Tensor]] = []

    def spell(self, spelling: Tensor) -> None:
        """Tell what bytes the classes are made of.

        Args:
            spelling: (V, n) integers, the last bytes of each class, newest last, -1 where it has
                fewer; n is the most bytes that a context has. A class of no bytes is passed over.

        Raises:
            ConfigError: it has another shape.
        """
        require(
            spelling.shape == self.spelling.shape,
            f"the spelling is {tuple(spelling.shape)}, but there must be the last "
            f"{self.spelling.shape[1]} bytes (tables.bytes) of {self.classes} classes",
        )
        self.spelling.copy_(spelling)

    @property
    def layout(self) -> TableLayout:
        """The shape of its state."""
        return self._layout

    def initial_state(self, batch: int) -> FastWeights:
        """An empty memory for B streams."""
        dtype = torch.promote_types(self.start.dtype, torch.float32)
        empty = TableWeights.empty(self.layout, batch, self.heads.keep, dtype=dtype)
        return FastWeights({NAME: empty})

    def forward(
        self,
        hidden: Tensor,
        came: Tensor,
        logits: Tensor,
        state: FastWeights | None = None,
        pending: Pending | None = None,
        *,
        targets: Tensor | None = None,
        steps: int = 0,
        revealed: Tensor | None = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[Tensor, FastWeights, Pending]:
        """Read a segment: score each token that came, learn it, and predict the one after it.

        Args:
            hidden: (B, T, D), what the logits were made of.
            came: (B, T) int64, the token read at each step.
            logits: (B, T, V), the model's prediction of the one after it.
            state: the memory before the segment; None is an empty one.
            pending: what the segment before returned: the gate learns from it when the first token
                has come. None where nothing was predicted.
            targets: (B, T) int64, tokens to score: those that come next, or others.
            steps: without targets, how many of the last steps to predict whole (S); 0 is all.
            revealed: (B, T) bool, False where the token is read as a context, and not learned; all
                are learned if None.
            mask: (B, T) bool, True where the step is real; the others do nothing, and what is
                returned there has no meaning.
            reset: (B, T) bool, True empties the memory before that step.
            donate: allow the state passed in to be overwritten, which saves copying its tables.

        Streams that share tables (`TableWeights.shared`) read in turn, and each learns what those
        before it did.

        Returns:
            log q (B, T) of the targets or, without them, (B, S, V) of every token; the memory
            after; and what is pending.

        Raises:
            StateError: the state does not fit this layer.
            ScanError: a token is none of V.
        """
        if state is None:
            state, donate = self.initial_state(came.shape[0]), True
        before = self._own(state, came.shape[0])
        dtype = before.theta.dtype
        log_p, slow = logits.log_softmax(-1, dtype=dtype), self.slow(hidden).to(dtype)
        slots, shares = self._address(hidden, dtype)
        if mask is not None:
            came = came.where(mask, 0)
            targets = targets if targets is None else targets.where(mask, 0)
        check_tokens(came, self.classes)
        predicted = Pending(log_p.detach(), slow.detach(), slots, shares.detach())
        pending = pending or predicted.blank()
        after = _pending(predicted, pending, mask, reset)
        if targets is not None:
            said = log_p.gather(-1, targets[..., None])[..., 0]
        else:
            said = log_p[:, -steps:] if 0 < steps < came.shape[1] else log_p
        if not self.enabled:
            return said, state, after

        heard = _heard(log_p.detach(), came, pending.log_p, mask)
        real, emptied, told = (x if x is None else x.cpu() for x in (mask, reset, revealed))
        segment = Came(came.cpu(), heard.cpu(), real, emptied, told)
        if self.addressing is not None:
            pairs = zip(pending[2:], (slots, shares), strict=True)
            around = (torch.cat([before[:, None], x], 1).cpu() for before, x in pairs)
            segment = segment._replace(address=Address._make(around))
        # A copy: the loop holds on to the storage, which sharding has to free.
        gate = Gate(self.start.to(dtype).cpu().clone(), slow.cpu(), pending.gate.cpu())
        tables = Tables(**{name: getattr(before, name) for name in Tables._fields})
        memory = Memory(self.rules, self.spelling.cpu(), tables)
        memory = roomy(memory, came.numel() // len(before.key), donate=donate)
        watched = bool(self._watchers)
        if targets is None:
            read = predict(said.cpu(), segment, gate, memory, watched=watched)
        else:
            read = score(targets.cpu(), said.cpu(), segment, gate, memory, watched=watched)
        if read.weights is not None:
            for watcher in self._watchers:
                watcher.append(read.weights)
        learned = replace(before, **memory.tables._asdict())
        return read.log_q.to(logits.device), FastWeights({NAME: learned}), after

    def _address(self, hidden: Tensor, dtype: torch.dtype) -> Address:
        """Of the learned contexts, (B, T, L)."""
        if self.addressing is None:
            nothing = hidden.new_empty(*hidden.shape[:2], 0, dtype=dtype)
            return Address(nothing.long(), nothing)
        slots, shares = self.addressing(hidden)
        return Address(slots.flatten(2), shares.flatten(2).to(dtype))

    def _own(self, state: FastWeights, batch: int) -> TableWeights:
        """This memory's part of a state, checked."""
        found = list(state.layers)
        layer = state.layers[NAME] if found == [NAME] else None
        if not isinstance(layer, TableWeights):
            raise StateError(f"expected the state of one TableMemory, got layers {found}")
        expected = (batch, *self.layout[:3])
        if layer.shape != expected:
            raise StateError(
                f"the state's tables are {layer.shape} but this memory reads {expected} "
                "(streams, heads, sets, recent tokens). Pass the state that it returned for the "
                "same streams, or None to start empty."
            )
        return layer


@contextmanager
def watch_gate(memory: TableMemory) -> Iterator[list[Tensor]]:
    """Collect how far the gate trusts the model and each head, while a model runs in this block.

    Yields:
        A list that grows by a tensor (B, T, 1 + H) at each call: the weights of the model and of
        `memory.heads` in the prediction after each step, which sum to one.
    """
    seen: list[Tensor] = []
    memory._watchers.append(seen)
    try:
        yield seen
    finally:
        memory._watchers.remove(seen)


def _heard(log_p: Tensor, came: Tensor, before: Tensor, mask: Tensor | None) -> Tensor:
    """What had been predicted (B, T) for the token that came, at the last real step before it."""
    first = before.gather(-1, came)
    if came.shape[1] == 1:
        return first
    if mask is None:
        rest = log_p[:, :-1].gather(-1, came[:, 1:, None])[..., 0]
        return torch.cat([first[:, :1], rest], 1)
    position = _positions(mask)
    position = torch.cat([torch.zeros_like(position[:, :1]), position[:, :-1]], 1)
    stream = torch.arange(len(came), device=came.device)[:, None]
    return torch.where(position > 0, log_p[stream, position - 1, came], first)


def _pending(said: Pending, before: Pending, mask: Tensor | None, reset: Tensor | None) -> Pending:
    """Of what all steps predicted, (B, T, ...), that of the last real one; else what was before."""
    if mask is None:  # of many steps, a view of the last would keep all of them
        newest = Pending(*(x.select(1, -1) for x in said))
        return newest if said.gate.shape[1] == 1 else Pending(*(x.clone() for x in newest))
    last = _positions(mask)[:, -1]
    emptied = torch.zeros_like(last) if reset is None else _positions(reset)[:, -1]
    stream = torch.arange(len(last), device=last.device)
    inside, real = (x[stream, last - 1] for x in said), (last > 0)[:, None]
    found = Pending(*(torch.where(real, *pair) for pair in zip(inside, before, strict=True)))
    holds = (last >= emptied)[:, None]
    return found._replace(log_p=found.log_p.where(holds, nan), slots=found.slots.where(holds, -1))


def _positions(mask: Tensor) -> Tensor:
    """(B, T) int64, the last step up to and including each where a mask is True, from 1; or 0."""
    step = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return torch.where(mask, step, 0).cummax(1).values
