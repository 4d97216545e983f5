"""`Pending`: what was predicted of the token that comes next, from one segment to another."""

from math import nan
from typing import NamedTuple

import torch
from torch import Tensor

from sparsemeta.ops import Address, fine, log_p


class Pending(NamedTuple):
    """What was predicted for the token that comes next.

    Attributes:
        log_p: (B, V), the model's log-probabilities; NaN where nothing was predicted.
        gate: (B, H), the slow part of the gate.
        slots: (B, L) int64, those of all learned contexts; -1 where nothing was predicted.
        shares: (B, L), their weights.
        state: (B, K), the hidden state as a cache compares it.
    """

    log_p: Tensor
    gate: Tensor
    slots: Tensor
    shares: Tensor
    state: Tensor

    @property
    def address(self) -> Address:
        """Of the learned contexts."""
        return Address(self.slots, self.shares)

    @property
    def known(self) -> Tensor:
        """(B,) bool, where something was predicted."""
        return ~self.log_p[:, 0].isnan()


def nothing(predicted: Pending) -> Pending:
    """As it is before anything was predicted; of predictions (B, T, ...)."""
    blank = Pending(*(torch.zeros_like(x[:, 0]) for x in predicted))
    return blank._replace(log_p=fine(blank.log_p) + nan, slots=blank.slots - 1)


def newest(
    predicted: Pending, before: Pending, mask: Tensor | None, reset: Tensor | None
) -> Pending:
    """Of what all steps predicted, that of the last real one; else what was before.

    Args:
        predicted: (B, T, ...), with logits in the place of log p.
        before: (B, ...).
        mask: (B, T) bool, the real steps; all are if None.
        reset: (B, T) bool, where all is forgotten before the step.
    """
    # Only the state is learned from later on: it is kept by a cache.
    said, before = (x._replace(**_cut_off(x)) for x in (predicted, before))
    if mask is None:
        # Copies: a view of the last of many steps would keep all of them.
        return Pending(_of_all(said.log_p[:, -1]), *(x[:, -1].clone() for x in said[1:]))
    last = _positions(mask)[:, -1]
    emptied = torch.zeros_like(last) if reset is None else _positions(reset)[:, -1]
    stream = torch.arange(len(last), device=last.device)
    inside, real = Pending(*(x[stream, last - 1] for x in said)), (last > 0)[:, None]
    inside = inside._replace(log_p=_of_all(inside.log_p))
    found = Pending(*(torch.where(real, *pair) for pair in zip(inside, before, strict=True)))
    holds = (last >= emptied)[:, None]
    return found._replace(log_p=found.log_p.where(holds, nan), slots=found.slots.where(holds, -1))


def heard(
    logits: Tensor,
    came: Tensor,
    before: Tensor,
    mask: Tensor | None,
    targets: Tensor | None,
    said: Tensor,
) -> Tensor:
    """Log p (B, T) of the token that came, as predicted at the last real step before it.

    Args:
        logits: (B, T, V), the predictions.
        came: (B, T) int64.
        before: (B, V), log p at the last real step before the segment.
        mask: (B, T) bool, the real steps; all are if None.
        targets: (B, T) int64, of which log p is known already: mostly those that come next.
        said: (B, T), log p of them.
    """
    next_one = asked(came, mask)
    first = before.gather(-1, next_one[:, :1])
    if targets is not None and torch.equal(targets[:, :-1], next_one[:, 1:]):
        return follows(torch.cat([first, said[:, :-1].detach()], 1), mask)
    if came.shape[1] == 1:
        return first
    rest = log_p(logits[:, :-1].detach(), next_one[:, 1:])
    return follows(torch.cat([first, rest.to(first)], 1), mask)


def asked(came: Tensor, mask: Tensor | None) -> Tensor:
    """Which token (B, T) comes next, before the first step and after each but the last."""
    if mask is None:
        return came
    time = came.shape[1]
    place = _preceding(mask).where(mask, time)
    return torch.zeros_like(came[:, :1]).repeat(1, time + 1).scatter(1, place, came)[:, :time]


def follows(said: Tensor, mask: Tensor | None) -> Tensor:
    """What was said (B, T) of the token at each step, by what was at the real step before it."""
    return said if mask is None else said.gather(1, _preceding(mask))


def _cut_off(pending: Pending) -> dict[str, Tensor]:
    """All but the state, without their graph."""
    return {name: x.detach() for name, x in pending._asdict().items() if name != "state"}


def _of_all(logits: Tensor) -> Tensor:
    """Log p (B, V), rounded as `log_p` rounds it: a stream may be cut anywhere."""
    logits = fine(logits)
    return logits - logits.logsumexp(-1, keepdim=True)


def _preceding(mask: Tensor) -> Tensor:
    """(B, T) int64, the last step before each where a mask (B, T) is True, from 1; or 0."""
    position = _positions(mask)
    return torch.cat([torch.zeros_like(position[:, :1]), position[:, :-1]], 1)


def _positions(mask: Tensor) -> Tensor:
    """(B, T) int64, the last step up to and including each where a mask is True, from 1; or 0."""
    step = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    return torch.where(mask, step, 0).cummax(1).values
