"""Read a segment with a table memory: what its compiled loop needs, and its gradients."""

from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import ScanError
from sparsemeta.ops.compiled import spread
from sparsemeta.ops.output.tables_types import Came, Gate, Memory, Recalled, Tables
from sparsemeta.ops.types import Function


class Read(NamedTuple):
    """What is made of a segment.

    Attributes:
        log_q: log-probabilities under the mixture, differentiable in the model's, in the gate and
            in the shares of learned contexts, with what was learned while reading held fixed.
        weights: (B, T, 1 + H), those of the model and the heads; None if not asked for.
    """

    log_q: Tensor
    weights: Tensor | None


def score(
    target: Tensor, log_p: Tensor, came: Came, gate: Gate, memory: Memory, *, watched: bool = False
) -> Read:
    """Read a segment, and score one token after each step: log q (B, T).

    Args:
        target: (B, T) int64.
        log_p: (B, T), the model's log-probability of it.
        came: the tokens that are read.
        gate: its trained part.
        memory: with room for the segment, as `roomy` makes it; its tables are updated in place.
        watched: whether the weights are asked for.
    """
    aimed = log_p.detach().contiguous()
    made = {"target": target.contiguous(), "aimed": aimed, "log_q": torch.zeros_like(aimed)}
    trained = _trained(log_p, came, gate)
    if trained:
        made["gradient"] = _per_head(came, memory, 2 + memory.rules.heads.learned)
    _read(came, gate, memory, made, chosen=trained, watched=watched)
    log_q = made["log_q"]
    if trained:
        parts = log_p, gate.slow, gate.start, _shares(came), _recalled(came).target
        log_q = _Score.apply(*parts, log_q, (made["gradient"], made["chosen"]))
    return Read(log_q, made.get("weights"))


def predict(
    log_p: Tensor, came: Came, gate: Gate, memory: Memory, *, watched: bool = False
) -> Read:
    """Read a segment, and mix the whole distribution after each of its last S steps.

    log q (B, S, V) = log(w_0 p_model + sum_h w_h p_h). With gradients it takes P V numbers a step.

    Args:
        log_p: (B, S, V), the model's.
        came: the tokens that are read.
        gate: its trained part.
        memory: with room for the segment, as `roomy` makes it; its tables are updated in place.
        watched: whether the weights are asked for.
    """
    steps, trained = log_p.shape[1], _trained(log_p, came, gate)
    model = log_p.detach().contiguous()
    made = {"log_p": model, "whole": model.clone()}
    head = torch.from_numpy(memory.rules.head)
    if trained:
        batch, _, classes = log_p.shape
        made["parts"] = log_p.new_zeros(batch, steps, len(head) + 1, classes)
    _read(came, gate, memory, made, chosen=trained, watched=watched or trained)
    log_q = made["whole"]
    if trained:
        rest = (made[name][:, -steps:] for name in ("weights", "parts", "chosen"))
        shares = _shares(came)[:, -steps:]
        slow = gate.slow[:, -steps:]
        _, _, _, cached, followed = _recalled(came)
        parts = log_p, slow, gate.start, shares, cached
        log_q = _Predict.apply(*parts, log_q, (followed, pad(head, (0, 1)), *rest))
    return Read(log_q, made.get("weights"))


def _trained(log_p: Tensor, came: Came, gate: Gate) -> bool:
    """Whether a gradient is wanted."""
    _, _, target, share, _ = _recalled(came)
    sources = (log_p, _shares(came), target, share, *gate)
    return torch.is_grad_enabled() and any(x.requires_grad for x in sources)


def _shares(came: Came) -> Tensor:
    """The shares (B, T, L) of the learned contexts after each step."""
    none = came.log_p[..., None][..., :0]
    return none if came.address is None else came.address.weight[:, 1:]


def _recalled(came: Came) -> Recalled:
    """What the cache says; nothing at all where there is none."""
    none = came.log_p[:, :0]
    return came.recalled or Recalled(none.long(), none, none, none[..., None], none.long())


def _per_head(came: Came, memory: Memory, more: int) -> Tensor:
    """Zeros (B, T, H + more)."""
    theta = memory.tables.theta
    return theta.new_zeros(*came.token.shape, theta.shape[1] + more)


def _read(
    came: Came, gate: Gate, memory: Memory, made: dict[str, Tensor], *, chosen: bool, watched: bool
) -> None:
    """Run the loop over all streams; it sets what is to be made."""
    from sparsemeta.ops.output import read_loop

    token, (rules, spelling, tables) = came.token, memory
    if chosen:
        made["chosen"] = _per_head(came, memory, 0).long()
    if watched:
        made["weights"] = _per_head(came, memory, 1)
    nothing = _nothing(tables.theta.dtype)
    marks = {"mask": came.mask, "reset": came.reset, "revealed": came.revealed}
    if came.address is not None:
        marks |= {"slots": came.address.index, "shares": came.address.weight}
    given = nothing | made | {k: x.contiguous() for k, x in marks.items() if x is not None}
    start, slow, before = gate
    assert tables.bucket is not None  # there is, since `roomy`
    groups = (
        (slow.contiguous(), before, start, tables.theta, tables.moved),
        (token.contiguous(), came.log_p, *(given[name] for name in GIVEN)),
        tuple([x.detach().contiguous() for x in _recalled(came)]),
        (*tables[:4], tables.bucket, tables.recent),
        (*rules.arrays, spelling, rules.limits),
        tuple([given[name] for name in MADE]),
    )
    with np.errstate(all="ignore"):  # hashes wrap around, and nothing has no logarithm
        spread(read_loop.read, tables.key.shape[0], groups)


GIVEN = ("target", "aimed", "mask", "reset", "revealed", "slots", "shares")
"""What the loop may be given beside the tokens."""
MADE = ("log_q", "gradient", "chosen", "weights", "log_p", "whole", "parts")
"""What the loop makes, and `log_p`, of which it makes the `whole`."""


@cache
def _nothing(dtype: torch.dtype) -> dict[str, np.ndarray]:
    """What stands for all that is not asked for."""
    real = torch.empty(0, dtype=dtype).numpy().dtype
    marks = dict.fromkeys(("mask", "reset", "revealed"), np.bool_)
    kinds = marks | {"target": np.int64, "chosen": np.int64, "slots": np.int64}
    axes = {"log_q": 2, "parts": 4} | dict.fromkeys(GIVEN[:5], 2)
    names = (*MADE, *GIVEN)
    return {k: np.empty((0,) * axes.get(k, 3), kinds.get(k, real)) for k in names}


class _Score(Function):
    @staticmethod
    def forward(ctx, log_p, slow, start, shares, expected, log_q, rest):
        ctx.save_for_backward(start, *rest)
        ctx.cached = expected.numel() > 0
        return log_q.view_as(log_q)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_log_q):
        start, gradient, chosen = ctx.saved_tensors
        sizes = [1, len(start), gradient.shape[-1] - len(start) - 2, 1]
        d_log_p, d_slow, d_shares, d_cache = (gradient * d_log_q[..., None]).split(sizes, -1)
        d_start, d_cache = _by_set(d_slow, chosen, start), d_cache[..., 0] if ctx.cached else None
        return d_log_p[..., 0], d_slow, d_start, d_shares, d_cache, None, None


class _Predict(Function):
    @staticmethod
    def forward(ctx, log_p, slow, start, shares, cached, log_q, rest):
        ctx.save_for_backward(log_p, start, shares, cached, log_q, *rest)
        return log_q.view_as(log_q)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_log_q):
        log_p, start, shares, cached, log_q, followed, head, *rest = ctx.saved_tensors
        weights, parts, chosen = rest
        by_model, learned = d_log_q * (log_p - log_q).exp(), head[: shares.shape[-1]]
        by_q = d_log_q * (-log_q).exp()
        by_parts = torch.einsum("bsv,bspv->bsp", by_q, parts)
        d_cached = None
        if cached.numel():
            d_cached = by_q.gather(-1, followed[:, None].expand_as(cached)) * weights[..., 1:2]
        spoken = torch.cat([shares, torch.ones_like(by_parts[..., len(learned) :])], -1) * by_parts
        by_heads = torch.zeros_like(weights[..., 1:]).index_add_(-1, head, spoken)
        # A share makes its slot heard, and, being a part of the mass, all of its head less.
        d_shares = by_parts[..., : len(learned)] - by_heads[..., learned] * parts[
            ..., : len(learned), :
        ].sum(-1)
        d_shares = d_shares * weights[..., 1:][..., learned]
        said = torch.cat([by_model.sum(-1, keepdim=True), by_heads], -1)
        below = weights.cumsum(-1).clamp(min=torch.finfo(said.dtype).tiny)  # masked: all are zero
        d_logit = weights * (said - (weights * said).cumsum(-1) / below)
        d_slow = d_logit[..., 1:]
        d_start = _by_set(d_slow, chosen, start)
        return by_model * weights[..., :1], d_slow, d_start, d_shares, d_cached, None, None


def _by_set(d_slow: Tensor, chosen: Tensor, start: Tensor) -> Tensor:
    """Sum the gradients (B, T, H) of the logits by the sets (B, T, H) that they stand in."""
    heads = torch.arange(len(start)).expand_as(chosen)
    return torch.zeros_like(start).index_put_((heads, chosen), d_slow, accumulate=True)


def check_tokens(token: Tensor, classes: int) -> None:
    """Raise `ScanError` unless all tokens are from 0 to V - 1."""
    if token.numel() and token.cpu().numpy().view(np.uint64).max() >= classes:
        raise ScanError(
            f"a token is none of 0 to {classes - 1}: it is {token.min()} or {token.max()}"
        )


def roomy(memory: Memory, tokens: int, *, donate: bool) -> Memory:
    """A memory that may be written in place, with room for a segment of some tokens (T).

    Args:
        memory: as it is.
        tokens: T.
        donate: allow its tables to be overwritten.
    """
    rules, spelling, tables = memory
    rows, lookups = tables.key.shape[1], len(rules.head)
    most = int(tables.used.numpy()[:, 0].max()) + 2 * lookups * tokens
    room = min(rules.capacity, most) + 1
    if not donate:
        tables = Tables._make(None if x is None else x.clone() for x in tables)
    if room > rows:
        more = max(room, min(2 * rows, rules.capacity + 1)) - rows
        tables = tables._replace(
            key=pad(tables.key, (0, more)),
            weight=pad(tables.weight, (0, more)),
            rows=pad(tables.rows, (0, 0, 0, more)),
            bucket=None,
        )
    if tables.bucket is None:
        tables = tables._replace(bucket=_buckets(tables))
    return Memory(rules, spelling, tables)


def _buckets(tables: Tables) -> Tensor:
    """The hash tables (B, M) of the rows (B, R), where M is a power of two and at least 2 R."""
    from sparsemeta.ops.output import tables_loops

    batch, rows = tables.key.shape
    bucket = torch.zeros(batch, 1 << (2 * rows - 1).bit_length(), dtype=torch.int32)
    parts = (x.numpy() for x in (*tables[:4], bucket))
    with np.errstate(over="ignore"):
        for table in zip(*parts, strict=True):
            tables_loops.rebuild(table)
    return bucket
