"""Read a segment with a table memory: what its compiled loop needs, and its gradients."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import ScanError
from sparsemeta.ops.compiled import spread
from sparsemeta.ops.output.heads import Heads


class Rules(NamedTuple):
    """What of a table memory is set, and not learned.

    Attributes:
        heads: its contexts.
        spelling: (V, n) int16, the last bytes of each token, newest last; -1 where it has fewer.
        capacity: rows of a stream at most.
        first: the gate's rate is first / sqrt(times moved) ...
        least: ... but never less than this.
    """

    heads: Heads
    spelling: Tensor
    capacity: int
    first: float
    least: float


class Tables(NamedTuple):
    """What B streams have learned; see `tables_loops` for the first four and the last.

    Attributes:
        key: (B, R) int64.
        weight: (B, R), floats.
        rows: (B, R, COLUMNS) int32.
        used: (B, 2) int64.
        recent: (B, L) int64, the last tokens read, newest last; -1 where there are none.
        theta: (B, H, SETS), floats: what the gate has learned.
        moved: (B, H, SETS) int32, how often each was moved.
        bucket: (B, M) int32; None is built anew.
    """

    key: Tensor
    weight: Tensor
    rows: Tensor
    used: Tensor
    recent: Tensor
    theta: Tensor
    moved: Tensor
    bucket: Tensor | None


class Came(NamedTuple):
    """The tokens of a segment, and what the model had made of them.

    Attributes:
        token: (B, T) int64, the token read at each step.
        log_p: (B, T), the model's log-probability of it; NaN where it predicted nothing.
        mask: (B, T) bool, True where the step is real; others do nothing. None: all are.
        reset: (B, T) bool, True empties the stream's memory before the step. None: none does.
    """

    token: Tensor
    log_p: Tensor
    mask: Tensor | None
    reset: Tensor | None


class Gate(NamedTuple):
    """The trained part of the gate.

    Attributes:
        start: (H, SETS), logits of speaking by a head's evidence.
        slow: (B, T, H), added to them for the token after each step.
        before: (B, H), for the token that comes first.
    """

    start: Tensor
    slow: Tensor
    before: Tensor


def score_targets(
    target: Tensor, log_p: Tensor, came: Came, gate: Gate, rules: Rules, tables: Tables
) -> tuple[Tensor, Tensor]:
    """Read a segment; the log-probability of one token after each step.

    Args:
        target: (B, T) int64.
        log_p: (B, T), the model's log-probability of it.
        came: the tokens that are read.
        gate: its trained part.
        rules: what is set.
        tables: with room for the segment, as `roomy` makes it; updated in place.

    Returns:
        log q (B, T), differentiable in log_p and the gate, with what was learned while reading held
        fixed; and the weights (B, T, 1 + H) of the model and the heads.
    """
    trained = torch.is_grad_enabled() and any(x.requires_grad for x in (log_p, *gate))
    shape, like = came.token.shape, tables.theta
    heads = len(rules.heads.order)
    log_q = like.new_zeros(shape)
    shares = like.new_zeros(*shape, 1 + heads)
    gradient = like.new_zeros(*shape, 1 + heads) if trained else like.new_empty(0, 0, 0)
    chosen = came.token.new_zeros(*shape, heads) if trained else came.token.new_empty(0, 0, 0)
    nothing = like.new_empty(0, 0), like.new_empty(0, 0, 0, 0), like.new_empty(0, 0, 0)
    made = log_q, gradient, chosen, shares, *nothing
    _read(target, log_p, came, gate, rules, tables, made)
    if trained:
        log_q = _Score.apply(log_q, gradient, chosen, log_p, gate.slow, gate.start)
    return log_q, shares


def predict(
    log_p: Tensor, came: Came, gate: Gate, rules: Rules, tables: Tables
) -> tuple[Tensor, Tensor]:
    """Read a segment; the whole distribution after each of its last steps.

    Args:
        log_p: (B, S, V), the model's.
        came: the tokens that are read.
        gate: its trained part.
        rules: what is set.
        tables: with room for the segment, as `roomy` makes it; updated in place.

    Returns:
        log q (B, S, V) = log(w_0 p_model + sum_h w_h p_h), differentiable as in `score_targets`;
        then it takes H V numbers a step. And the weights (B, T, 1 + H).
    """
    trained = torch.is_grad_enabled() and any(x.requires_grad for x in (log_p, *gate))
    shape, like = came.token.shape, tables.theta
    heads = len(rules.heads.order)
    batch, steps, classes = log_p.shape
    shares = like.new_zeros(*shape, 1 + heads)
    model, sums = like.new_ones(batch, steps), like.new_zeros(batch, steps, classes)
    chosen, parts = came.token.new_empty(0, 0, 0), like.new_empty(0, 0, 0, 0)
    if trained:
        chosen = came.token.new_zeros(*shape, heads)
        parts = like.new_zeros(batch, steps, heads, classes)
    made = like.new_empty(0, 0), like.new_empty(0, 0, 0), chosen, shares, model, parts, sums
    nothing = came.token.new_empty(0, 0), like.new_empty(0, 0)
    _read(*nothing, came, gate, rules, tables, made)
    if trained:
        seen = shares[:, -steps:], parts, chosen[:, -steps:]
        return _Predict.apply(log_p, gate.slow[:, -steps:], gate.start, model, sums, *seen), shares
    return _mixed(log_p, model, sums), shares


def _mixed(log_p: Tensor, model: Tensor, sums: Tensor) -> Tensor:
    """log(model p + sums); exactly log p where the model has all the weight."""
    return torch.logaddexp(log_p + model.log()[..., None], sums.log())


def _read(
    target: Tensor,
    aimed: Tensor,
    came: Came,
    gate: Gate,
    rules: Rules,
    tables: Tables,
    made: tuple[Tensor, ...],
) -> None:
    """Run the loop over all streams."""
    from sparsemeta.ops.output import read_loop

    token, dtype = came.token, tables.theta.dtype
    if token.numel() and token.numpy().view(np.uint64).max() >= len(rules.spelling):
        raise ScanError(f"a token is none of 0 to {len(rules.spelling) - 1}")
    none = torch.empty(0, 0, dtype=torch.bool)
    marks = (none if mark is None else mark.contiguous() for mark in (came.mask, came.reset))
    heard, aimed = (x.detach().to(dtype).contiguous() for x in (came.log_p, aimed))
    gates = (x.detach().to(dtype).contiguous() for x in (gate.slow, gate.before, gate.start))
    spelled, order, keep, *links = rules.heads
    limits = torch.tensor([rules.capacity, rules.first, rules.least], dtype=torch.float64)
    groups = (
        (*gates, tables.theta, tables.moved),
        (token.contiguous(), target.contiguous(), heard, aimed, *marks),
        (*tables[:4], tables.bucket, tables.recent),
        (spelled, order, keep.log(), *links, rules.spelling),
        limits,
        made,
    )
    with np.errstate(all="ignore"):  # hashes wrap around, and nothing has no logarithm
        spread(read_loop.read, len(token), groups)


class _Score(torch.autograd.Function):
    @staticmethod
    def forward(ctx, log_q, gradient, chosen, log_p, slow, start):  # type: ignore[override]
        ctx.save_for_backward(gradient, chosen)
        ctx.like = log_p, slow, start
        return log_q.clone()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_log_q):  # type: ignore[override]
        gradient, chosen = ctx.saved_tensors
        made = gradient * d_log_q[..., None]
        d_slow = made[..., 1:]
        return None, None, None, made[..., 0], d_slow, _by_set(d_slow, chosen, ctx.like[2])


class _Predict(torch.autograd.Function):
    @staticmethod
    def forward(ctx, log_p, slow, start, model, sums, shares, parts, chosen):  # type: ignore[override]
        log_q = _mixed(log_p, model, sums)
        ctx.save_for_backward(log_p, log_q, shares, parts, chosen, start)
        return log_q

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_log_q):  # type: ignore[override]
        log_p, log_q, shares, parts, chosen, start = ctx.saved_tensors
        by_model = d_log_q * (log_p - log_q).exp()
        by_heads = torch.einsum("bsv,bshv->bsh", d_log_q * (-log_q).exp(), parts)
        said = torch.cat([by_model.sum(-1, keepdim=True), by_heads], -1)
        below = shares.cumsum(-1).clamp(
            min=torch.finfo(shares.dtype).tiny
        )  # a masked step has no shares
        d_slow = (shares * (said - (shares * said).cumsum(-1) / below))[..., 1:]
        d_start = _by_set(d_slow, chosen, start)
        return by_model * shares[..., :1], d_slow, d_start, *[None] * 5


def _by_set(d_slow: Tensor, chosen: Tensor, start: Tensor) -> Tensor:
    """Sum the gradients (B, T, H) of the logits by the sets (B, T, H) that they stand in."""
    heads = torch.arange(len(start)).expand_as(chosen)
    return torch.zeros_like(start).index_put_((heads, chosen), d_slow, accumulate=True)


def roomy(tables: Tables, tokens: int, heads: int, capacity: int, *, donate: bool) -> Tables:
    """Tables to read a segment of some tokens with; they may be written in place.

    Args:
        tables: as they are.
        tokens: T.
        heads: H.
        capacity: rows of a stream at most.
        donate: allow these tables to be overwritten.
    """
    rows = tables.key.shape[1]
    room = min(capacity, int(tables.used[:, 0].max()) + 2 * heads * tokens) + 1
    if not donate:
        tables = Tables(*(None if x is None else x.clone() for x in tables))
    if room > rows:
        more = max(room, min(2 * rows, capacity + 1)) - rows
        key, weight = pad(tables.key, (0, more)), pad(tables.weight, (0, more))
        grown = {"key": key, "weight": weight, "rows": pad(tables.rows, (0, 0, 0, more))}
        tables = tables._replace(**grown)
    length = 1 << math.ceil(math.log2(2 * tables.key.shape[1]))
    if tables.bucket is None or tables.bucket.shape[1] != length:
        tables = tables._replace(bucket=_buckets(tables, length))
    return tables


def _buckets(tables: Tables, length: int) -> Tensor:
    """The hash tables (B, M) of some rows."""
    from sparsemeta.ops.output import tables_loops

    bucket = torch.zeros(len(tables.key), length, dtype=torch.int32)
    parts = (x.numpy() for x in (*tables[:4], bucket))
    with np.errstate(over="ignore"):
        for table in zip(*parts, strict=True):
            tables_loops.rebuild(table)
    return bucket
