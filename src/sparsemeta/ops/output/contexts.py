"""Addresses of exact contexts: the last n tokens, or the last n bytes, as a number of 62 bits."""

import numpy as np

from sparsemeta.ops.compiled import compiled

MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xD6E8FEB86659FD93), np.uint64(32))
NUMBERS = np.uint64((1 << 62) - 1)


@compiled
def mixed(x):
    """64 bits stirred."""
    x = x * MIX[0]
    x = (x ^ (x >> MIX[2])) * MIX[1]
    return x ^ (x >> MIX[2])


@compiled
def number_contexts(recent, spelling, spelled, order, hashed, number):
    """Number the context of each head.

    Args:
        recent: (L,) int64, the last tokens, newest last; -1 where there are none.
        spelling: (V, n), the last bytes of each token, newest last; -1 where it has fewer.
        spelled: (H,) bool, whether the context is of bytes.
        order: (H,) int64, of how many.
        hashed: (2, L + 1) uint64, scratch: hashes of the last n tokens, and of the last n bytes.
        number: (H,) int64, set to the context's number, -1 where fewer have come.
    """
    reach, width = len(recent), spelling.shape[1]
    hashed[:, 0] = np.uint64(0)
    tokens, letters = 0, 0
    while tokens < reach and recent[reach - 1 - tokens] >= 0:
        token = recent[reach - 1 - tokens]
        hashed[0, tokens + 1] = mixed(hashed[0, tokens] ^ np.uint64(token + 1))
        tokens += 1
        at = width - 1
        while letters < width and at >= 0 and spelling[token, at] >= 0:
            letter = np.uint64(spelling[token, at] + 1)
            hashed[1, letters + 1] = mixed(hashed[1, letters] ^ letter)
            at, letters = at - 1, letters + 1
    for h in range(len(order)):
        n, known = order[h], letters if spelled[h] else tokens
        number[h] = np.int64(hashed[int(spelled[h]), n] & NUMBERS) if n <= known else -1
