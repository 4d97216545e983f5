"""The best slots, or pairs of half-keys, compiled: without sorting what cannot be among them.

A score that is NaN is never among the best; where too few others are left, slot 0 stands in.
Needs numba.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from sparsemeta.ops.compiled import spread


def best_slots(scores: Tensor, active: int) -> Tensor:
    """The A best of N scores.

    Args:
        scores: (..., N), of a floating-point dtype.
        active: A, from 1 to N.

    Returns:
        Indices (..., A) int64, best first; either one where two are equally good.
    """
    scores = _wide(scores)
    index = torch.empty(*scores.shape[:-1], active, dtype=torch.int64)
    arrays = tuple(x.view(-1, x.shape[-1]) for x in (scores, index))
    spread(_best_slots, len(arrays[0]), arrays)
    return index


def best_pairs(first: Tensor, second: Tensor, active: int) -> Tensor:
    """The A best of S^2 pairs, where pair i S + j scores first[i] + second[j].

    Args:
        first: (..., S), of a floating-point dtype.
        second: (..., S), of the same dtype.
        active: A, from 1 to S^2.

    Returns:
        Indices of pairs (..., A) int64, best first; either one where two are equally good.
    """
    first, second = _wide(first), _wide(second)
    index = torch.empty(*first.shape[:-1], active, dtype=torch.int64)
    arrays = tuple(x.view(-1, x.shape[-1]) for x in (first, second, index))
    spread(_best_pairs, len(arrays[0]), arrays)
    return index


def _wide(scores: Tensor) -> Tensor:
    """Scores in a dtype that numpy has, which bfloat16 is not."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).contiguous()


@njit(nogil=True, cache=True)
def _best_slots(start, stop, scores, index):
    kept = np.empty(index.shape[1], scores.dtype)
    for n in range(start, stop):
        best(scores[n], kept, index[n])


@njit(nogil=True, cache=True)
def _best_pairs(start, stop, firsts, seconds, index):
    active = index.shape[1]
    count = min(active, firsts.shape[1])
    left, right = np.empty(count, firsts.dtype), np.empty(count, firsts.dtype)
    i, j = np.empty(count, np.int64), np.empty(count, np.int64)
    scores = np.empty(active, firsts.dtype)
    for n in range(start, stop):
        best(firsts[n], left, i)
        best(seconds[n], right, j)
        pairs(left, i, right, j, firsts.shape[1], scores, index[n])


@njit(nogil=True, cache=True)
def pairs(left, i, right, j, side, scores, at):
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
def best(scores, kept, at):
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
