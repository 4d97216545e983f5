"""`PrototypeMemory`: a row for each label, which is the direction of what was shown as it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from sparsemeta.config import RowsConfig
from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, LayerWeights, Layout
from sparsemeta.nn.adaptive import AdaptiveLayer
from sparsemeta.nn.sparse_memory import NAME
from sparsemeta.ops import EPOCH, Rows

PART = 256
"""Steps that are compared with each other at once: time and memory are those of its square."""
SCALE = 40.0
"""What the cosines of query and rows are multiplied by at the start, to be logits."""


class PrototypeMemory(AdaptiveLayer):
    r"""A row memory of labels: prototypes that can forget.

    $$M \leftarrow \lambda M, \qquad M[y_t] \mathrel{+}= \beta_t (k_t - M[y_t]), \qquad
      \mathrm{logits}_t[y] = q_t \cdot \mathrm{unit}(M_t[y])$$

    in each of H heads, at each lesson t: $y_t$ is its label, $k_t = \mathrm{unit}(W_k h, c)$ the
    hidden state of the step that it was revealed of, $q_t = s\, \mathrm{unit}(W_q h_t, c)$ the
    present one. $W_k = W_q$ is orthogonal at the start. Time is counted in lessons.

    A row is read by its direction. So it does not matter how often or how long ago its label was
    taught; $\beta$ and $\lambda$ weigh its lessons against one another, by how many and how much
    else came between them, and with small $\beta$ and $\lambda = 1$ it is their mean. With large c
    the cosine is a distance, $\cos = 1 - |W h - \mu_y|^2 / 2 c^2 + \dots$: running-mean prototypes
    are that limit. A label never taught has the logit 0, as one whose row is orthogonal.

    Args:
        width: D, of the hidden state.
        labels: how many there may be (V); the state has a row for each.
        config: the memory's settings; with a key width of D + 1, all angles are kept.

    >>> prototypes = PrototypeMemory(32, 10, RowsConfig(half_lives=(300.0,), key_width=33))
    >>> hidden, label = torch.randn(1, 4, 32), torch.tensor([[0, 3, 7, 0]])
    >>> revealed = torch.tensor([[False, True, True, True]])
    >>> logits, state = prototypes(hidden, label, revealed=revealed)
    >>> logits.shape, state.layers["memory"].steps  # three lessons
    (torch.Size([1, 4, 10]), tensor([3]))
    """

    kind = "rows"
    forgets: Tensor

    def __init__(self, width: int, labels: int, config: RowsConfig):
        super().__init__()
        self.width, self.labels, self.config = width, labels, config
        heads, key = len(config.half_lives), config.key_width
        self.key = nn.Linear(width, heads * (key - 1), bias=False)
        self.query = nn.Linear(width, heads * (key - 1), bias=False)
        self.constant = nn.Parameter(torch.ones(heads, 1))
        self.log_scale = nn.Parameter(torch.full((heads, 1), math.log(SCALE / heads)))
        self.rate = nn.Linear(width, heads)
        half_lives = torch.tensor(config.half_lives)
        self.register_buffer("forgets", half_lives > 0, persistent=False)
        self.log_half_life = nn.Parameter(half_lives.where(half_lives > 0, 1).log())
        with torch.no_grad():
            for head in self.key.weight.unflatten(0, (heads, -1)):
                nn.init.orthogonal_(head)
            self.query.weight.copy_(self.key.weight)
        self.hold(config.rate)

    def hold(self, rate: float) -> None:
        """Write with one strength in (0, 1] at every lesson, until training changes it."""
        with torch.no_grad():
            self.rate.weight.zero_()
            self.rate.bias[:] = torch.tensor(rate, dtype=torch.float64).logit(eps=1e-6)

    @property
    def layout(self) -> Layout:
        """The shape and form of its state: a slot is a label, a row ends with its stamp."""
        width = len(self.config.half_lives) * self.config.key_width + 1
        return Layout(1, self.labels, width, capacity=None)

    def initial_state(self, batch: int) -> FastWeights:
        """Nothing taught to B streams."""
        weight = self.query.weight
        # Never coarser than float32, however coarse the activations: a memory in bf16 drifts.
        where = {"device": weight.device, "dtype": torch.promote_types(weight.dtype, torch.float32)}
        return FastWeights({NAME: LayerWeights.empty(self.layout, batch, self.width, **where)})

    def forward(
        self, hidden: Tensor, label: Tensor, state: FastWeights | None = None, *, revealed: Tensor
    ) -> tuple[Tensor, FastWeights]:
        """Score labels at each step of a segment, after writing what was revealed at it.

        Args:
            hidden: (B, T, D).
            label: (B, T) int64, what was revealed at t of the step before it, whose hidden state is
                the last one in `state` where that was in another segment.
            state: the memory before the segment; None is an empty one.
            revealed: (B, T) bool, whether anything was; else the step writes nothing. Nothing
                precedes the first step of a stream.

        Returns:
            Logits (B, T, V), and the memory after.

        Raises:
            StateError: the state does not fit this layer.
        """
        state = state or self.initial_state(len(hidden))
        before = self._own(state, len(hidden))
        if not self.enabled:
            return hidden.new_zeros(*label.shape, self.labels), state

        dtype = before.table.dtype
        context = torch.cat([before.last[:, None].to(hidden.dtype), hidden], dim=1)
        previous = context[:, :-1]
        query = self.log_scale.exp() * self._lifted(self.query, hidden)
        steps = _Steps(
            torch.where(revealed, label, 0),
            revealed,
            self._lifted(self.key, previous).to(dtype),
            self.rate(previous).to(dtype),
            query.to(dtype),
        )
        log_retention = -math.log(2) * torch.exp(-self.log_half_life) * self.forgets
        rows, logits = Rows(before.table[:, 0], before.steps), []
        with torch.autocast(hidden.device.type, enabled=False):
            for part in zip(*(tensor.split(PART, dim=1) for tensor in steps), strict=True):
                scored, rows = _read_and_write(_Steps(*part), rows, log_retention.to(dtype))
                logits.append(scored)
        last = context[:, -1].to(before.last.dtype)
        after = LayerWeights(rows.table[:, None], last, rows.clock)
        return torch.cat(logits, dim=1).to(hidden.dtype), FastWeights({NAME: after})

    def _lifted(self, way: nn.Linear, hidden: Tensor) -> Tensor:
        """Directions (B, T, H, K) of a map of hidden states and the constant."""
        mapped = way(hidden).unflatten(-1, (len(self.constant), -1))
        constant = self.constant.to(mapped.dtype).expand(*mapped.shape[:-1], 1)
        return normalize(torch.cat([mapped, constant], dim=-1), dim=-1)

    def _own(self, state: FastWeights, batch: int) -> LayerWeights:
        """This layer's part of a state, checked."""
        shapes = {name: layer.shape for name, layer in state.layers.items()}
        expected, layer = {NAME: (batch, *self.layout[:3])}, state.layers.get(NAME)
        if shapes != expected or not isinstance(layer, LayerWeights) or layer.slot is not None:
            raise StateError(
                f"the state is {shapes} but this layer reads {expected} (streams, heads, labels, "
                "width), and a row for every label. Pass the state that this layer returned for "
                "the same streams, or None to start empty."
            )
        return layer


class _Steps(NamedTuple):
    """What T steps do to the rows: each writes the lesson revealed at it, then reads all."""

    label: Tensor  # (B, T)
    told: Tensor  # (B, T) bool, whether there is a lesson
    key: Tensor  # (B, T, H, K)
    rate: Tensor  # (B, T, H), the logit of beta
    query: Tensor  # (B, T, H, K)


def _read_and_write(steps: _Steps, before: Rows, log_retention: Tensor) -> tuple[Tensor, Rows]:
    r"""All steps at once, exactly: logits (B, T, V), and the rows after.

    A key has no part in what a row keeps, so that the share of lesson s in the row of t's label is

    $$\beta_s \lambda^{n_t - n_s} \prod_u (1 - \beta_u)$$

    over the lessons u of that label in between and t's own, where $n_t$ counts lessons. A row that
    was carried is read as it was when last written, since its direction is the same until it is
    written again; a lesson's row is read from the lesson to the next one of its label.
    """
    label, told, key, logit, query = steps
    time, heads = key.shape[1:3]
    clock = before.clock[:, None] + told.cumsum(1)
    stream = torch.arange(len(label), device=label.device)[:, None]
    same = ((label[:, :, None] == label[:, None]) & told[:, :, None] & told[:, None]).tril()

    kept = same.to(key.dtype) @ logsigmoid(-logit)  # (B, T, H), by the lessons of t's label so far
    idle = clock - before.stamp[stream, label]
    contents = before.contents(heads)
    carried_share = (kept + log_retention * idle[..., None]).exp()
    age = (clock[:, :, None] - clock[:, None])[..., None]
    share = kept[:, :, None] - kept[:, None] + log_retention * age + logsigmoid(logit)[:, None]
    share = share.masked_fill(~same[..., None], -torch.inf).exp().movedim(-1, 1)  # (B, H, T, T)
    lessons = (share @ key.transpose(1, 2)).transpose(1, 2)
    written = carried_share[..., None] * contents[stream, label] + lessons

    step = torch.arange(time, device=label.device)
    again = torch.where(same.tril(-1), step[:, None], time).amin(1)  # when s's row is next written
    current = told[:, None] & (step[:, None] >= step) & (step[:, None] < again[:, None])
    fresh = query.flatten(2) @ normalize(written, dim=-1).flatten(2).mT
    carried = query.flatten(2) @ normalize(contents, dim=-1).flatten(2).mT
    column = label[:, None].expand_as(fresh)
    renewed = current.new_zeros(carried.shape, dtype=torch.int8)
    renewed = renewed.scatter_add(2, column, current.to(renewed.dtype)) > 0
    logits = carried.masked_fill(renewed, 0).scatter_add(2, column, fresh * current)

    stamp = (clock / EPOCH).to(written.dtype)[..., None]
    at, last = current[:, -1].nonzero(as_tuple=True)
    rows = torch.cat([written.flatten(2), stamp], dim=-1)[at, last]
    table = before.table.index_put((at, label[at, last]), rows)
    return logits, Rows(table, before.clock + told.sum(1))
