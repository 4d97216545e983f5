"""`StateCache`: what followed hidden states like the present one."""

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, pad

from sparsemeta.config import TablesConfig
from sparsemeta.errors import StateError
from sparsemeta.fast_weights import CachedStates, CacheLayout, FastWeights
from sparsemeta.nn.pending import Pending, asked, follows
from sparsemeta.nn.predecessors import predecessors, take_steps
from sparsemeta.ops import Recalled, recall_one, usable

SHARPNESS = 14.0
"""Tau, before it is trained."""
Marks = tuple[Tensor | None, Tensor | None, Tensor | None]
FAR = -1e30
"""The likeness of what is not known."""


class StateCache(nn.Module):
    r"""The last W hidden states, each with the token that followed it (Grave et al. 2016).

    $$p(y) = \sum_i \mathrm{softmax}_i(\tau\, u_i \cdot u_t) 1[x_{i+1} = y], \quad
    u = \mathrm{unit}(P h)$$

    P begins as a rotation: before it is trained, this is the usual cache.

    Args:
        width: D, of the hidden state.
        classes: V.
        config: W, and the width K of what is kept.
    """

    def __init__(self, width: int, classes: int, config: TablesConfig):
        super().__init__()
        self.layout = CacheLayout(config.cache, min(width, config.cache_width), classes)
        self.project = nn.Linear(width, self.layout.width, bias=False)
        nn.init.orthogonal_(self.project.weight)
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS).log())

    def initial_state(self, batch: int) -> CachedStates:
        """An empty one for B streams."""
        weight = self.project.weight
        dtype = torch.promote_types(weight.dtype, torch.float32)
        return CachedStates.empty(self.layout, batch, weight.to(dtype))

    def states(self, hidden: Tensor) -> Tensor:
        """Hidden states (B, T, D) as they are compared: u (B, T, K), never coarser than float32."""
        made = self.project(hidden)
        return normalize(made.to(torch.promote_types(made.dtype, torch.float32)), dim=-1)

    def forward(
        self,
        states: Tensor,
        came: Tensor,
        held: CachedStates,
        pending: Pending,
        marks: Marks,
        *,
        targets: Tensor | None,
        steps: int,
        donate: bool,
    ) -> tuple[Recalled, CachedStates]:
        """What it says at each step of a segment, which it learns.

        Args:
            states: (B, T, K), u.
            came: (B, T) int64, the token read at each step.
            held: the cache before the segment.
            pending: the state before the first step.
            marks: revealed, mask and reset, as of `TableMemory.forward`; and so are
            targets: (B, T) int64,
            steps: S, and
            donate: whether `held` may be overwritten.
        """
        revealed, mask, reset = marks
        after = predecessors(states, pending.known.long(), mask, reset)
        context = torch.cat([pending.state[:, None].to(states), states], 1)
        previous = take_steps(context, after.position)
        written = after.known
        for needed in (mask, revealed):
            written = written if needed is None else written & needed
        donate = donate and not torch.is_grad_enabled()
        plain = mask is None and reset is None and not torch.is_grad_enabled()
        if plain and came.shape[1] == 1 and usable(states):
            return self._one(context, came, held, written, targets, donate=donate)

        known = _known(held, written, reset)
        share = self._likeness(context, held, previous).masked_fill(~known, FAR).softmax(-1)
        share, token = share.where(known, 0), torch.cat([held.token, came], 1)

        def said(share: Tensor, tokens: Tensor) -> Tensor:
            return share.where(token[:, None] == tokens[..., None], 0).sum(-1)

        next_one, told = asked(came, mask), share[:, :0]
        if targets is None:
            target, told = share[:, :0, 0], share[:, -steps:] if steps else share[:, 1:]
        else:
            target = said(share[:, 1:], targets)
        if targets is not None and torch.equal(targets[:, :-1], next_one[:, 1:]):
            first = said(share[:, :1], next_one[:, :1])
            heard = torch.cat([first, target[:, :-1]], 1)
        else:
            heard = said(share[:, :-1], next_one)
        recalled = Recalled(known.sum(-1), follows(heard.detach(), mask), target, told, token)
        return recalled, held.append(previous, came, written, reset, donate=donate)

    def _one(
        self,
        context: Tensor,
        came: Tensor,
        held: CachedStates,
        written: Tensor,
        targets: Tensor | None,
        *,
        donate: bool,
    ) -> tuple[Recalled, CachedStates]:
        """The same of a single token, in a compiled loop."""
        if not donate:
            held = CachedStates(*(x.clone() for x in held.tensors().values()))
        ring = held.key, held.token, held.steps
        queries = context * self.sharpness.exp().to(context)
        return recall_one(ring, queries, context[:, 0], came, written, targets), held

    def _likeness(self, context: Tensor, held: CachedStates, previous: Tensor) -> Tensor:
        """Of each context (B, 1 + T, K) to what was kept, and to what is new: (B, 1 + T, W + T)."""
        query = context * self.sharpness.exp().to(context)
        with torch.autocast(context.device.type, enabled=False):
            return torch.cat([query @ held.key.to(query).mT, query @ previous.mT], -1)

    def own(self, state: FastWeights, name: str, batch: int) -> CachedStates:
        """Its part of a state, checked.

        Raises:
            StateError: there is none, or one of another shape.
        """
        found, expected = state.layers.get(name), (batch, *self.layout.shape)
        if not isinstance(found, CachedStates) or found.shape != expected:
            raise StateError(
                f"expected a cache of {expected} (streams, states, width), got "
                f"{'none' if found is None else found.shape}. Pass the state that this memory "
                "returned for the same streams, or None to start empty."
            )
        return found


def _known(held: CachedStates, written: Tensor, reset: Tensor | None) -> Tensor:
    """What counts, (B, 1 + T, W + T), before the first step and after each.

    That is all of the last W states that were written by then, and since the last reset.
    """
    size, time = held.token.shape[1], written.shape[1]
    count = held.steps[:, None] + pad(written.long().cumsum(1), (1, 0))
    number = torch.cat([held.place, count[:, 1:].where(written, 0) - 1], 1)
    known = (number >= 0)[:, None] & (number[:, None] >= (count - size)[..., None])
    step = torch.arange(1, time + 1, device=written.device)
    made = torch.cat([step.new_zeros(size), step])  # at which step each is written
    known &= made <= torch.arange(time + 1, device=written.device)[:, None]
    if reset is not None:
        emptied = pad(reset.long().cumsum(1), (1, 0))
        known &= emptied.gather(1, made.expand(len(reset), -1))[:, None] == emptied[..., None]
    return known
