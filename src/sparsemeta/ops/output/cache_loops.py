"""A cache of hidden states as loops compiled for CPUs. Needs numba."""

import numpy as np
from numba import njit

from sparsemeta.ops.compiled import FAST


@njit(nogil=True, cache=True)
def recall(first, last, ring, given, made):
    """One token of each stream."""
    (keys, tokens, steps), (queries, key, came, written, aimed) = ring, given
    helds, said, expected, shares = made
    size = keys.shape[1]
    weights = np.empty(size, keys.dtype)
    for b in range(first, last):
        held = helds[b, 0] = min(steps[b], size)
        _shares(keys[b], held, queries[b, 0], weights)
        for i in range(held):
            if tokens[b, i] == came[b, 0]:
                said[b, 0] += weights[i]
        if written[b, 0]:
            place = steps[b] % size
            keys[b, place], tokens[b, place] = key[b], came[b, 0]
            steps[b] += 1
        held = helds[b, 1] = min(steps[b], size)
        _shares(keys[b], held, queries[b, 1], weights)
        if shares.shape[1]:
            shares[b, :held] = weights[:held]
            continue
        for i in range(held):
            if tokens[b, i] == aimed[b, 0]:
                expected[b, 0] += weights[i]


@njit(nogil=True, cache=True, fastmath=FAST)
def _shares(keys, held, query, weights):
    """Set the first weights (W,) to the softmax of what a query (K,) makes of keys (W, K)."""
    highest = keys.dtype.type(-np.inf)
    for i in range(held):
        score = keys.dtype.type(0)
        for k in range(len(query)):
            score += keys[i, k] * query[k]
        weights[i] = score
        highest = max(highest, score)
    total = keys.dtype.type(0)
    for i in range(held):
        weights[i] = np.exp(weights[i] - highest)
        total += weights[i]
    for i in range(held):
        weights[i] /= total
