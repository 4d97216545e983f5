"""`RowMemory`: fast weights of an output layer, a row for each class that came."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, rms_norm

from sparsemeta.config import RowsConfig
from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, LayerWeights, Layout
from sparsemeta.nn.adaptive import AdaptiveLayer
from sparsemeta.nn.predecessors import predecessors, take_steps
from sparsemeta.nn.sparse_memory import NAME
from sparsemeta.ops import Held, Outcomes, Rows, Scores, run_all_rows, run_rows


class RowMemory(AdaptiveLayer):
    r"""A memory that adds to the logits of classes, for any layer that predicts them.

    $$M_t = \lambda M_{t-1}, \qquad M_t[x_t] \mathrel{+}= \beta_t (k_t - M_t[x_t]), \qquad
      \mathrm{logits}_t[w] \mathrel{+}= q_t \cdot M_t[w]$$

    in each of H heads, where $x_t$ is the class that came, $k_t = \mathrm{unit}(W_k h_{t-1}, c)$
    the context that should have predicted it, and $q_t = 2 \sigma(W_g h_t) W_q h_t$ the context of
    the next prediction. The learned constant c lets a row say that its class came, whatever the
    context. $W_q = 0$ at the start: nothing is added. Costs are those of the rows that were
    written, however many classes there are.

    Args:
        width: D, of what the output layer reads.
        classes: how many classes there are (V).
        config: the memory's settings.

    >>> rows = RowMemory(32, 1000, RowsConfig())
    >>> hidden, embedded = torch.randn(2, 1, 10, 32)
    >>> scores, state = rows(hidden, torch.arange(10)[None], feedback=embedded)
    >>> scores.add_to(torch.zeros(1, 10, 1000)).any()  # not yet trained
    tensor(False)
    """

    kind = "rows"

    def __init__(self, width: int, classes: int, config: RowsConfig):
        super().__init__()
        self.width, self.classes, self.config = width, classes, config
        heads, key = len(config.half_lives), config.key_width
        self.key = nn.Linear(width, heads * (key - 1), bias=False)
        self.constant = nn.Parameter(torch.ones(heads, 1))
        self.query = nn.Linear(width, heads * key, bias=False)
        self.gain = nn.Linear(width, heads)
        self.rate = nn.Linear(2 * width, heads)
        for blank in (self.query.weight, self.gain.weight, self.gain.bias, self.rate.weight):
            nn.init.zeros_(blank)
        nn.init.constant_(self.rate.bias, math.log(config.rate / (1 - config.rate)))
        half_lives = torch.tensor(config.half_lives)
        self.log_half_life = nn.Parameter(half_lives.where(half_lives > 0, 1).log())

    @property
    def layout(self) -> Layout:
        """The shape and form of its state: a slot is a class, a row ends with its stamp.

        On a CPU it holds the rows that were written; elsewhere all, as to grow is to wait.
        """
        width = len(self.config.half_lives) * self.config.key_width + 1
        capacity = self.classes if self.query.weight.is_cpu else None
        return Layout(1, self.classes, width, capacity)

    def initial_state(self, batch: int) -> FastWeights:
        """An empty memory for B streams."""
        weight = self.query.weight
        # Never coarser than float32, however coarse the activations: a memory in bf16 drifts.
        where = {"device": weight.device, "dtype": torch.promote_types(weight.dtype, torch.float32)}
        return FastWeights({NAME: LayerWeights.empty(self.layout, batch, self.width, **where)})

    def forward(
        self,
        hidden: Tensor,
        came: Tensor,
        state: FastWeights | None = None,
        *,
        feedback: Tensor,
        revealed: Tensor | None = None,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[Scores, FastWeights]:
        """Score classes after each step of a segment, writing as it goes.

        Args:
            hidden: (B, T, D), what the output layer reads.
            came: (B, T) int64, the class that was revealed at t, which t-1 was to predict.
            state: the memory before the segment; None is an empty one.
            feedback: (B, T, D), a description of that class; of any scale.
            revealed: (B, T) bool, False where no class was: the step reads and writes nothing; all
                were if None.
            mask: (B, T) bool, True where the step is real; others change nothing.
            reset: (B, T) bool, True empties the memory before that step.
            donate: allow the state passed in to be overwritten, which saves copying its table;
                go on with the state that is returned, and `clone` first what is to be kept.

        Returns:
            What to add to the logits, unspecified at masked steps, and the memory after.

        Raises:
            StateError: the state does not fit this layer.
        """
        if state is None:
            state, donate = self.initial_state(len(hidden)), True
        before = self._own(state, len(hidden))
        if not self.enabled:
            return Scores((), ()), state

        follows = predecessors(hidden, before.steps, mask, reset)
        written = follows.known
        for needed in (mask, revealed):
            written = written if needed is None else written & needed
        observed = torch.where(written, came, 0)
        context = torch.cat([before.last[:, None].to(hidden.dtype), hidden], dim=1)
        previous = take_steps(context, follows.position)
        dtype = before.table.dtype
        outcomes = Outcomes(
            observed,
            self._key(previous).to(dtype),
            self._rate(previous, feedback).to(dtype) * written[..., None],
            self._query(hidden).to(dtype),
            self.log_retention().to(dtype),
        )
        last = take_steps(context, follows.last)[:, -1].to(before.last.dtype)
        if before.slot is None:
            rows = Rows(before.table[:, 0], before.steps)
            scores, (table, steps) = run_all_rows(outcomes, rows, mask, reset, donate=donate)
            return scores, FastWeights({NAME: LayerWeights(table[:, None], last, steps)})
        held = Held(before.table, before.slot, before.bucket)
        scores, held, steps = run_rows(outcomes, held, before.steps, mask, reset, donate=donate)
        return scores, FastWeights({NAME: LayerWeights(held.table, last, steps, *held[1:])})

    @torch.no_grad()
    def left(self, state: FastWeights) -> tuple[Tensor, Tensor]:
        """What is left now of the rows that one stream has written.

        Returns:
            (n,) int64, the class of each row; and the rows (n, H, K), of norm 1 at most.

        Raises:
            StateError: the state does not fit this layer, or is of several streams.
        """
        layer = self._own(state, 1)
        classes, rows = layer.touched()
        now = Rows(rows[None], layer.steps).now(self.log_retention().to(rows))
        return classes, now[0]

    def _key(self, previous: Tensor) -> Tensor:
        """The context $k_t$ that should have predicted what came (B, T, H, K)."""
        key = self.key(previous).unflatten(-1, (len(self.constant), -1))
        constant = self.constant.to(key.dtype).expand(*key.shape[:-1], 1)
        return normalize(torch.cat([key, constant], dim=-1), dim=-1)

    def _query(self, hidden: Tensor) -> Tensor:
        """The context $q_t$ of the next prediction (B, T, H, K)."""
        query = self.query(hidden).unflatten(-1, (len(self.constant), -1))
        return 2 * torch.sigmoid(self.gain(hidden))[..., None] * query

    def _rate(self, previous: Tensor, feedback: Tensor) -> Tensor:
        r"""How strongly a row is written: $\beta_t$ (B, T, H)."""
        feedback = rms_norm(feedback, (self.width,))
        return torch.sigmoid(self.rate(torch.cat([previous, feedback], dim=-1)))

    def log_retention(self) -> Tensor:
        r"""What a row keeps over a step: $\log \lambda$ (H,)."""
        kept = -math.log(2) * torch.exp(-self.log_half_life)
        # Not by a mask made of numbers here: to copy them to a device is to wait for it.
        forgets = (half_life > 0 for half_life in self.config.half_lives)
        return torch.stack([one * int(does) for one, does in zip(kept, forgets, strict=True)])

    def _own(self, state: FastWeights, batch: int) -> LayerWeights:
        """This layer's part of a state, checked."""
        found = list(state.layers)
        if found != [NAME]:
            raise StateError(f"expected the state of one RowMemory, got layers {found}")
        layer = state.layers[NAME]
        *shape, capacity = self.layout
        expected, dense = (batch, *shape), capacity is None
        fits = layer.shape == expected
        if not (fits and isinstance(layer, LayerWeights) and dense == (layer.slot is None)):
            which = "a row for every class" if dense else "only rows that were written"
            raise StateError(
                f"the state's table is {layer.shape} but this layer reads {expected} "
                f"(streams, heads, classes, width), and {which}. Pass the state "
                "that this layer returned for the same streams, or None to start empty."
            )
        return layer
