"""The scores of chosen keys, a dot product each, compiled. Needs numba.

The gradient reaches the chosen keys and no other, so it costs the same however many keys there are.
"""

import torch
from numba import njit
from torch import Tensor

from sparsemeta.ops.native import FAST
from sparsemeta.ops.threads import spread


def chosen_scores(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    """Score the keys that an address names.

    Args:
        query: (..., H, T, K).
        keys: (H, N, K), of the same dtype.
        index: (..., H, T, A) int64 in [0, N).

    Returns:
        (..., H, T, A), differentiable in query and keys.
    """
    query, index = query.contiguous(), index.contiguous()
    flat = (query.view(-1, *query.shape[-3:]), keys.contiguous(), index.view(-1, *index.shape[-3:]))
    if torch.is_grad_enabled() and (query.requires_grad or keys.requires_grad):
        scores = _ChosenScores.apply(*flat)
    else:
        scores = _scores(*flat)
    return scores.view(index.shape)  # type: ignore[union-attr]


def _scores(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    scores = query.new_empty(index.shape)
    spread(_forward, len(keys), (index, query, keys, scores))
    return scores


class _ChosenScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, keys, index):
        ctx.save_for_backward(query, keys, index)
        return _scores(query, keys, index)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_scores):  # type: ignore[override]
        query, keys, index = ctx.saved_tensors
        d_query, d_keys = torch.zeros_like(query), torch.zeros_like(keys)
        arrays = (index, query, keys, d_scores.contiguous(), d_query, d_keys)
        spread(_backward, len(keys), arrays)
        return d_query, d_keys, None


@njit(nogil=True, cache=True, fastmath=FAST)
def _forward(first, last, indices, queries, keys, scores):
    batch, _, time, active = indices.shape
    for h in range(first, last):
        for b in range(batch):
            for t in range(time):
                query, index, score = queries[b, h, t], indices[b, h, t], scores[b, h, t]
                for a in range(active):
                    key, total = keys[h, index[a]], queries.dtype.type(0)
                    for k in range(len(key)):
                        total += query[k] * key[k]
                    score[a] = total


@njit(nogil=True, cache=True, fastmath=FAST)
def _backward(first, last, indices, queries, keys, d_scores, d_queries, d_keys):
    batch, _, time, active = indices.shape
    for h in range(first, last):
        for b in range(batch):
            for t in range(time):
                query, index = queries[b, h, t], indices[b, h, t]
                d_query, d_score = d_queries[b, h, t], d_scores[b, h, t]
                for a in range(active):
                    key, d_key, d = keys[h, index[a]], d_keys[h, index[a]], d_score[a]
                    for k in range(len(key)):
                        d_query[k] += d * key[k]
                        d_key[k] += d * query[k]
