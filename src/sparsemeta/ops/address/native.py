"""The loops behind the kinds of addresses, compiled for CPUs. Needs numba.

A score that is NaN is never among the best; where too few others are left, slot 0 stands in.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sparsemeta.ops.compiled import FAST, spread
from sparsemeta.ops.types import Function


def best_slots(scores: Tensor, active: int) -> Tensor:
    """The A best of N scores (..., N), without sorting what cannot be among them: (..., A)."""
    return _listed(_best_slots, active, scores)


def best_pairs(first: Tensor, second: Tensor, active: int) -> Tensor:
    """The A best of S^2 pairs (..., A), where pair i S + j scores first[i] + second[j]."""
    return _listed(_best_pairs, active, first, second)


def _listed(kernel, active: int, *scores: Tensor) -> Tensor:
    """Run a kernel that lists indices best first, for every row of some scores (..., S)."""
    dtype = torch.promote_types(scores[0].dtype, torch.float32)  # one that numpy has
    index = torch.empty(*scores[0].shape[:-1], active, dtype=torch.int64)
    arrays = tuple(
        x.contiguous().view(-1, x.shape[-1]) for x in (*(s.to(dtype) for s in scores), index)
    )
    spread(kernel, len(arrays[0]), arrays)
    return index


def nearest(query: Tensor, keys: Tensor, temperature: Tensor, active: int) -> tuple[Tensor, Tensor]:
    """The whole of an address; arguments are those of `kinds.nearest`."""
    dtype = torch.promote_types(keys.dtype, torch.float32)
    query, keys, temperature = (x.to(dtype).contiguous() for x in (query, keys, temperature))
    index = torch.empty(*query.shape[:-1], active, dtype=torch.int64)
    weight = query.new_empty(index.shape)
    steps = (x.flatten(0, 1) for x in (query, index, weight))
    spread(_nearest, keys.shape[1], (*steps, keys, temperature))
    return index, weight


def chosen_scores(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    """Score the keys (P, H, S, K/P) that an address (..., H, T, A) names, a dot product each.

    A key has P parts, named by the P digits of an index to base S. The gradient reaches the chosen
    keys and no other, so it costs the same however many there are.
    """
    query, keys, index = query.contiguous(), keys.contiguous(), index.contiguous()
    flat = (query.view(-1, *query.shape[-3:]), keys, index.view(-1, *index.shape[-3:]))
    training = torch.is_grad_enabled() and (query.requires_grad or keys.requires_grad)
    scores = _ChosenScores.apply(*flat) if training else _scores(*flat)
    return scores.view(index.shape)  # type: ignore[union-attr]


def _scores(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    scores = query.new_empty(index.shape)
    spread(_forward, keys.shape[1], (index, query, keys, scores))
    return scores


class _ChosenScores(Function):
    @staticmethod
    def forward(ctx, query, keys, index):
        ctx.save_for_backward(query, keys, index)
        return _scores(query, keys, index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_scores):
        query, keys, index = ctx.saved_tensors
        d_query, d_keys = torch.zeros_like(query), torch.zeros_like(keys)
        arrays = (index, query, keys, d_scores.contiguous(), d_query, d_keys)
        spread(_backward, keys.shape[1], arrays)
        return d_query, d_keys, None


@njit(nogil=True, cache=True)
def _best_slots(start, stop, scores, index):
    kept = np.empty(index.shape[1], scores.dtype)
    for n in range(start, stop):
        _best(scores[n], kept, index[n])


@njit(nogil=True, cache=True)
def _best_pairs(start, stop, firsts, seconds, index):
    active = index.shape[1]
    count = min(active, firsts.shape[1])
    left, right = np.empty(count, firsts.dtype), np.empty(count, firsts.dtype)
    i, j = np.empty(count, np.int64), np.empty(count, np.int64)
    scores = np.empty(active, firsts.dtype)
    for n in range(start, stop):
        _best(firsts[n], left, i)
        _best(seconds[n], right, j)
        _pairs(left, i, right, j, firsts.shape[1], scores, index[n])


@njit(nogil=True, cache=True)
def _pairs(left, i, right, j, side, scores, at):
    """List the best sums, best first, and the pairs that they are of, from the best of each half.

    Before pair (p, q) come the (p + 1) (q + 1) - 1 pairs that are at least as good on both sides:
    it can be among the best only if they leave it a place.
    """
    scores[:] = -np.inf
    at[:] = 0
    for p in range(len(left)):
        for q in range(min(len(right), len(scores) // (p + 1))):
            score = left[p] + right[q]
            if not score > scores[-1]:
                break
            _keep(scores, at, score, i[p] * side + j[q])


@njit(nogil=True, cache=True)
def _best(scores, kept, at):
    """List the best scores, best first, and where they are."""
    kept[:] = -np.inf
    at[:] = 0
    for i in range(len(scores)):
        if scores[i] > kept[-1]:
            _keep(kept, at, scores[i], i)


@njit(nogil=True, cache=True)
def _keep(kept, at, score, i):
    """Take a score into a list, best first, whose last it beats."""
    a = len(kept) - 1
    while a > 0 and kept[a - 1] < score:
        kept[a], at[a] = kept[a - 1], at[a - 1]
        a -= 1
    kept[a], at[a] = score, i


@njit(nogil=True, cache=True, fastmath=FAST)
def _nearest(first, last, queries, index, weight, keys, temperature):
    parts, _, side, width = keys.shape
    active = index.shape[2]
    count = min(active, side)
    lengths, cosines = np.empty((parts, side), keys.dtype), np.empty(side, keys.dtype)
    top, at = np.empty((parts, count), keys.dtype), np.empty((parts, count), np.int64)
    scores = np.empty(active, keys.dtype)
    for h in range(first, last):
        for part in range(parts):
            for s in range(side):
                lengths[part, s] = _length(keys[part, h, s])
        for n in range(len(queries)):
            for part in range(parts):
                half = queries[n, h, part * width : (part + 1) * width]
                for s in range(side):
                    cosines[s] = _dot(half, keys[part, h, s]) / lengths[part, s]
                _best(cosines, top[part], at[part])
            if parts == 1:
                scores[:], index[n, h] = top[0], at[0]
            else:
                _pairs(top[0], at[0], top[1], at[1], side, scores, index[n, h])
            scores *= temperature[h] / _length(queries[n, h])
            _unit(scores, weight[n, h])


@njit(nogil=True, cache=True, fastmath=FAST)
def _dot(x, y):
    total = x.dtype.type(0)
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


@njit(nogil=True, cache=True, fastmath=FAST)
def _length(x):
    return max(np.sqrt(_dot(x, x)), x.dtype.type(1e-12))


@njit(nogil=True, cache=True, fastmath=FAST)
def _unit(scores, weight):
    """The softmax of scores, best first, scaled to unit norm."""
    for a in range(len(scores)):
        weight[a] = np.exp(scores[a] - scores[0])
    weight /= _length(weight)


@njit(nogil=True, cache=True, fastmath=FAST)
def _forward(first, last, indices, queries, keys, scores):
    batch, _, time, active = indices.shape
    parts, _, side, width = keys.shape
    for h in range(first, last):
        for b, t, a in np.ndindex(batch, time, active):
            slot, total = indices[b, h, t, a], queries.dtype.type(0)
            for part in range(parts - 1, -1, -1):
                key = keys[part, h, slot % side]
                query = queries[b, h, t, part * width : (part + 1) * width]
                for k in range(width):
                    total += query[k] * key[k]
                slot //= side
            scores[b, h, t, a] = total


@njit(nogil=True, cache=True, fastmath=FAST)
def _backward(first, last, indices, queries, keys, d_scores, d_queries, d_keys):
    batch, _, time, active = indices.shape
    parts, _, side, width = keys.shape
    for h in range(first, last):
        for b, t, a in np.ndindex(batch, time, active):
            slot, d_score = indices[b, h, t, a], d_scores[b, h, t, a]
            for part in range(parts - 1, -1, -1):
                key, d_key = keys[part, h, slot % side], d_keys[part, h, slot % side]
                query = queries[b, h, t, part * width : (part + 1) * width]
                d_query = d_queries[b, h, t, part * width : (part + 1) * width]
                for k in range(width):
                    d_query[k] += d_score * key[k]
                    d_key[k] += d_score * query[k]
                slot //= side
