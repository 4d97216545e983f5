"""The scores of chosen keys, a dot product each, compiled. Needs numba.

The gradient reaches the chosen keys and no other, so it costs the same however many keys there are.
"""

import torch
from numba import njit
from torch import Tensor

from sparsemeta.ops.compiled import FAST, spread


def chosen_scores(query: Tensor, keys: Tensor, index: Tensor) -> Tensor:
    """Score the keys that an address names.

    Args:
        query: (..., H, T, K).
        keys: (P, H, S, K/P), of the same dtype: P parts of a key, named by the P digits of an
            index to base S.
        index: (..., H, T, A) int64 in [0, S^P).

    Returns:
        (..., H, T, A), differentiable in query and keys.
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
        spread(_backward, keys.shape[1], arrays)
        return d_query, d_keys, None


@njit(nogil=True, cache=True, fastmath=FAST)
def _forward(first, last, indices, queries, keys, scores):
    batch, _, time, active = indices.shape
    parts, _, side, width = keys.shape
    for h in range(first, last):
        for b in range(batch):
            for t in range(time):
                for a in range(active):
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
        for b in range(batch):
            for t in range(time):
                for a in range(active):
                    slot, d_score = indices[b, h, t, a], d_scores[b, h, t, a]
                    for part in range(parts - 1, -1, -1):
                        key, d_key = keys[part, h, slot % side], d_keys[part, h, slot % side]
                        query = queries[b, h, t, part * width : (part + 1) * width]
                        d_query = d_queries[b, h, t, part * width : (part + 1) * width]
                        for k in range(width):
                            d_query[k] += d_score * key[k]
                            d_key[k] += d_score * query[k]
                        slot //= side
