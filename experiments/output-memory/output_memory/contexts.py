"""Addresses of exact contexts: the last n tokens, or the last n bytes, as a number of 62 bits."""

import numpy as np
import torch
from torch import Tensor

from output_memory.compiling import compiled
from output_memory.tables_native import mixed

NUMBERS = np.uint64((1 << 62) - 1)


def token_contexts(tokens: Tensor, history: Tensor, orders: tuple[int, ...]) -> Tensor:
    """The slot of the last n tokens before each token of a segment, for each n.

    Args:
        tokens: (T,) int64, the segment.
        history: (n,) int64, what came before it, as much as there is or the longest order needs.
        orders: how many tokens each context has; 0 is one slot for all.

    Returns:
        (T, H) int64, -1 where fewer tokens have come.
    """
    came = torch.cat([history, tokens])
    return _slots(came, torch.arange(len(came)), orders)[len(history) :]


def byte_contexts(
    tokens: Tensor, history: Tensor, orders: tuple[int, ...], spelling: Tensor, length: Tensor
) -> Tensor:
    """The slot of the last n bytes before each token of a segment, for each n.

    They are more general than one token, where that is long, and more special than none.

    Args:
        tokens: (T,) int64, the segment.
        history: (n,) int64, as of `token_contexts`; a token has at least one byte.
        orders: how many bytes each context has.
        spelling: (V, L) int64, the bytes of each token.
        length: (V,) int64, how many there are.

    Returns:
        (T, H) int64, -1 where fewer bytes have come.
    """
    came = torch.cat([history, tokens])
    lengths = length[came]
    text = spelling[came][torch.arange(spelling.shape[1]) < lengths[:, None]]
    return _slots(text, lengths.cumsum(0) - lengths, orders)[len(history) :]


def _slots(symbols: Tensor, end: Tensor, orders: tuple[int, ...]) -> Tensor:
    """Numbers of the last n symbols before each end, -1 where there are fewer."""
    slots = end.new_empty(len(end), len(orders))
    with np.errstate(over="ignore"):  # hashes wrap around
        _number(symbols.numpy(), end.numpy(), np.array(orders), slots.numpy())
    return slots


@compiled
def _number(symbols, end, orders, slots):
    longest = orders.max()
    slots[:] = -1
    for i in range(len(end)):
        hashed = np.uint64(0)
        for n in range(min(longest, end[i]) + 1):
            if n > 0:
                hashed = mixed(hashed ^ np.uint64(symbols[end[i] - n] + 1))
            for h in range(len(orders)):
                if orders[h] == n:
                    slots[i, h] = np.int64(hashed & NUMBERS)
