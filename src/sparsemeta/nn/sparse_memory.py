"""`SparseMemory`: one layer's fast weights, read into its output."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights, LayerWeights, Layout
from sparsemeta.nn.adaptive import AdaptiveLayer
from sparsemeta.nn.parts import Addressing, InitialMemory, MetaLearner
from sparsemeta.nn.predecessors import predecessors, take_steps
from sparsemeta.ops import BACKENDS, Held, Segment, locate, scan

DENSE_SLOTS = 2**14
"""Above this many slots a state holds only the rows that were written.

Up to it a table is copied in 2 ms for each stream (H 4, V 64), and a donated one saves the search
for rows, a fifth of a token's time. With 2^16 slots the copy takes 35 ms, of which a table that
holds 4,096 rows takes 5, with 2^18 slots 137.
"""
NAME = "memory"
"""What the only layer of a single `SparseMemory`'s state is called."""


class SparseMemory(AdaptiveLayer):
    r"""A sparse fast-weight memory for one layer of width D.

    $$y_t = W_o \left( \gamma_t \odot \mathrm{norm}(M_t^\top r_t) \right)$$

    with $M_t$ updated at every step as the `MetaLearner` says (equations 1-6 of the design).
    $W_o = 0$ at the start: the augmented network begins as the base network.

    Args:
        width: D.
        config: the memory's settings.
        addressing: where contexts are kept; an `Addressing` if None.
        meta_learner: what is written of them; a `MetaLearner` if None.

    >>> layer = SparseMemory(32, MemoryConfig(slots=64, active=4, heads=2, value_width=16))
    >>> x = torch.randn(1, 10, 32)
    >>> y, state = layer(x)            # None is an empty memory
    >>> y, state = layer(x, state)     # goes on where it stopped
    >>> y.shape, state.batch
    (torch.Size([1, 10, 32]), 1)
    """

    kind = "hidden"

    def __init__(
        self,
        width: int,
        config: MemoryConfig,
        addressing: Addressing | None = None,
        meta_learner: MetaLearner | None = None,
    ):
        super().__init__()
        require(
            config.backend in ("auto", *BACKENDS),
            f"memory.backend = {config.backend!r} is not one of auto, {', '.join(BACKENDS)}",
        )
        self.width, self.config = width, config
        self.addressing = addressing or Addressing(width, config)
        self.meta_learner = meta_learner or MetaLearner(width, config)
        self.initial = InitialMemory(config) if config.initial == "learned" else None
        self.gate = nn.Linear(width, config.heads)
        self.norm = nn.RMSNorm(config.value_width)
        self.output = nn.Linear(config.heads * config.value_width, width, bias=False)
        nn.init.zeros_(self.output.weight)

    @property
    def layout(self) -> Layout:
        """The shape and form of its state."""
        config, capacity = self.config, self.config.capacity
        many = config.slots > DENSE_SLOTS and config.addressing != "dense"
        if many and self.output.weight.is_cpu:  # elsewhere to grow is to wait for the device
            capacity = capacity or config.slots
        return Layout(config.heads, config.slots, config.value_width, capacity)

    def initial_state(self, batch: int) -> FastWeights:
        """An empty memory for B streams."""
        weight = self.output.weight
        # Never coarser than float32, however coarse the activations: a memory in bf16 drifts.
        where = {"device": weight.device, "dtype": torch.promote_types(weight.dtype, torch.float32)}
        return FastWeights({NAME: LayerWeights.empty(self.layout, batch, self.width, **where)})

    def forward(
        self,
        x: Tensor,
        state: FastWeights | None = None,
        *,
        feedback: Tensor | None = None,
        revealed: Tensor | None = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[Tensor, FastWeights]:
        """Read a segment, writing as it goes.

        Args:
            x: (B, T, D), the layer's input.
            state: the memory before the segment; None is an empty one.
            feedback: (B, T, D), what was revealed at t about the prediction made at t-1; x itself
                if None.
            revealed: (B, T) bool, False where nothing was: the step reads, and writes nothing; all
                were if None.
            mask: (B, T) bool, True where the step is real; others write nothing.
            reset: (B, T) bool, True empties the memory before that step.
            donate: allow the state passed in to be overwritten, which saves copying its table;
                go on with the state that is returned, and `clone` first what is to be kept.

        Returns:
            The layer's additive contribution (B, T, D) in the dtype of x, and the memory after.

        Raises:
            StateError: the state does not fit this layer, or the segment needs more rows than
                `capacity`; then the state is as it was.
        """
        if state is None:
            state, donate = self.initial_state(x.shape[0]), True
        before = self._own(state, x.shape[0])
        if not self.enabled:
            return torch.zeros_like(x), state

        context = torch.cat([before.last[:, None].to(x.dtype), x], dim=1)
        follows = predecessors(x, before.steps, mask, reset)
        writes = follows.known if revealed is None else follows.known & revealed
        address = self.addressing(context)
        write = address.map(lambda tensor: take_steps(tensor, follows.position))
        read = address.map(lambda tensor: tensor[:, 1:])
        previous = take_steps(context, follows.position)
        made = self.meta_learner(previous, x, x if feedback is None else feedback)
        value = made.value
        if self.initial is not None and self.config.rule == "delta":  # it recalls I^T w already
            value = value - self.initial(write)
        known = writes[..., None]  # nothing precedes a stream's first step: nothing to write
        kept = None if made.log_retention is None else made.log_retention * known
        segment = Segment(write, value, made.rate * known, kept, read)
        capacity = self.layout.capacity
        if before.slot is not None and capacity is not None:
            written = writes if mask is None else writes & mask
            held = Held(before.table, before.slot, before.bucket)
            segment, held = locate(held, segment, written, reset, capacity=capacity, donate=donate)
            donate = donate or held.table is not before.table  # it was copied when it grew
            before = replace(before, **held._asdict())
        recalled, table = scan(
            segment,
            slots=before.table.shape[2],
            initial=before.table,
            mask=mask,
            reset=reset,
            rule=self.config.rule,
            donate=donate,
            backend=self.config.backend,
        )
        if self.initial is not None:
            recalled = recalled + self.initial(read)
        gate = torch.sigmoid(self.gate(x))[..., None]
        recalled = self.norm(recalled.to(self.norm.weight.dtype)).to(gate.dtype)
        y = self.output((gate * recalled).flatten(2))
        last = take_steps(context, follows.last)[:, -1].to(before.last.dtype)
        after = LayerWeights(table, last, follows.steps, before.slot, before.bucket)
        return y.to(x.dtype), FastWeights({NAME: after})

    def _own(self, state: FastWeights, batch: int) -> LayerWeights:
        """This layer's part of a state, checked."""
        found, layer, layout = list(state.layers), state.layers.get(NAME), self.layout
        if found != [NAME] or not isinstance(layer, LayerWeights):
            raise StateError(f"expected the state of one SparseMemory, got layers {found}")
        expected = (batch, *layout[:3])
        if layer.shape != expected:
            raise StateError(
                f"the state's table is {layer.shape} but this layer reads {expected} "
                "(streams, heads, slots, value_width). Pass the state that this layer returned "
                "for the same streams, or None to start empty."
            )
        has, wants = (
            "every slot" if dense else "written slots only"
            for dense in (layer.slot is None, layout.capacity is None)
        )
        if has != wants:
            raise StateError(
                f"the state holds {has}, but this layer has a table of {wants}. Save the "
                "state and load it with this model: that brings it into the layer's form."
            )
        return layer

    def tie(self, confidence: float) -> None:
        """Let values in, and recall out times `confidence`, by one orthogonal map, not trained."""
        with torch.no_grad():
            way = nn.init.orthogonal_(self.output.weight)
            self.meta_learner.embed(way.mT)
            way.mul_(confidence)
        self.output.requires_grad_(False)
