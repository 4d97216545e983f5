"""The whole of an address in one compiled loop: for a few contexts, as when a token is read.

Torch's operations would each take longer to begin than to compute. Nothing is kept for a gradient.
Needs numba.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sparsemeta.ops.address.top import best, pairs
from sparsemeta.ops.compiled import FAST, spread
from sparsemeta.ops.types import Address


def nearest(query: Tensor, keys: Tensor, temperature: Tensor, active: int) -> Address:
    """Address the A slots whose keys have the highest cosines with a query.

    Args:
        query: (B, T, H, K).
        keys: (P, H, S, K/P), the keys of S^P slots in P parts, 1 or 2.
        temperature: (H), what cosines are multiplied by.
        active: A, from 1 to S^P.

    Returns:
        Slot indices (B, T, H, A) int64, best first, and their weights, a softmax scaled to unit
        norm; never coarser than float32.
    """
    dtype = torch.promote_types(keys.dtype, torch.float32)
    query, keys, temperature = (x.to(dtype).contiguous() for x in (query, keys, temperature))
    index = torch.empty(*query.shape[:-1], active, dtype=torch.int64)
    weight = query.new_empty(index.shape)
    steps = (x.flatten(0, 1) for x in (query, index, weight))
    spread(_nearest, keys.shape[1], (*steps, keys, temperature))
    return Address(index, weight)


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
                    cosines[s] = _product(half, keys[part, h, s]) / lengths[part, s]
                best(cosines, top[part], at[part])
            if parts == 1:
                scores[:], index[n, h] = top[0], at[0]
            else:
                pairs(top[0], at[0], top[1], at[1], side, scores, index[n, h])
            scores *= temperature[h] / _length(queries[n, h])
            _unit(scores, weight[n, h])


@njit(nogil=True, cache=True, fastmath=FAST)
def _product(x, y):
    total = x.dtype.type(0)
    for k in range(len(x)):
        total += x[k] * y[k]
    return total


@njit(nogil=True, cache=True, fastmath=FAST)
def _length(x):
    return max(np.sqrt(_product(x, x)), x.dtype.type(1e-12))


@njit(nogil=True, cache=True, fastmath=FAST)
def _unit(scores, weight):
    """The softmax of scores, best first, scaled to unit norm."""
    for a in range(len(scores)):
        weight[a] = np.exp(scores[a] - scores[0])
    weight /= _length(weight)
