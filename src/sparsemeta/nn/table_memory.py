"""`TableMemory`: what followed a context, mixed into a model's prediction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from sparsemeta.config import MemoryConfig, TablesConfig
from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights, TableLayout, TableWeights
from sparsemeta.nn.adaptive import AdaptiveLayer
from sparsemeta.nn.parts import Addressing
from sparsemeta.nn.pending import Pending, heard, newest, nothing
from sparsemeta.nn.sparse_memory import NAME
from sparsemeta.nn.state_cache import StateCache
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
    log_p,
    predict,
    roomy,
    score,
)

FOUND = ("slots", "active", "key_width", "addressing")
"""What of the settings says how a learned context is found."""
CACHE = "cache"
"""What the states of its cache are called, beside its tables, which have the usual name."""
START = -2.0
"""Logit of a head's speaking rather than backing off, before anything is trained or learned."""


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

    The most general head is a cache of hidden states, if there is one: `StateCache`.

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
        self.heads = Heads.of(config.orders, tuple(fading), config.bytes, learned, config.cache)
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
        self.cache = StateCache(width, classes, config) if config.cache else None
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
        cached = {} if self.cache is None else {CACHE: self.cache.initial_state(batch)}
        return FastWeights({NAME: empty, **cached})

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
        if mask is not None:
            came = came.where(mask, 0)
            targets = targets if targets is None else targets.where(mask, 0)
        check_tokens(came, self.classes)
        states = hidden[..., :0] if self.cache is None else self.cache.states(hidden)
        predicted = Pending(
            logits, self.slow(hidden).to(dtype), *self._address(hidden, dtype), states
        )
        pending = pending or nothing(predicted)
        after = newest(predicted, pending, mask, reset)
        if came.shape[1] == 1 and mask is None and not torch.is_grad_enabled():  # it is known
            said = after.log_p[:, None] if targets is None else after.log_p.gather(-1, targets)
        elif targets is not None:
            said = log_p(logits, targets)
        else:
            said = logits[:, -steps:].log_softmax(-1, dtype=dtype)
        said = said.to(dtype)
        if not self.enabled:
            return said, state, after

        before_it = heard(logits, came, pending.log_p, mask, targets, said)
        real, emptied, told = (x if x is None else x.cpu() for x in (mask, reset, revealed))
        segment = Came(came.cpu(), before_it.cpu(), real, emptied, told)
        if self.addressing is not None:
            pairs = zip(pending.address, predicted.address, strict=True)
            around = (torch.cat([x[:, None], rest], 1).cpu() for x, rest in pairs)
            segment = segment._replace(address=Address._make(around))
        cached = {}
        if self.cache is not None:
            held, marks = self.cache.own(state, CACHE, came.shape[0]), (revealed, mask, reset)
            recalled, cached[CACHE] = self.cache(
                states, came, held, pending, marks, targets=targets, steps=steps, donate=donate
            )
            segment = segment._replace(recalled=recalled.cpu())
        # A copy: the loop holds on to the storage, which sharding has to free.
        slow = predicted.gate.cpu(), pending.gate.cpu()
        gate = Gate(self.start.to(dtype).cpu().clone(), *slow)
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
        return read.log_q.to(logits.device), FastWeights({NAME: learned, **cached}), after

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
        layer = state.layers.get(NAME) if not {*found} - {NAME, CACHE} else None
        if not isinstance(layer, TableWeights):
            raise StateError(f"expected the state of one TableMemory, got layers {found}")
        expected = (batch, *self.layout.shape)
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
