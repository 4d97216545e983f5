"""What the sparse memory is compared with, trained alike: other keys, and a recurrent network.

A `SparseMemory` is made with a `DenseCode` for its addressing, a `StreamLearner` with an
`LSTMMemory` for its memory. So one loop trains and scores them all.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.nn import Addressing
from sparsemeta.ops import Address


class DenseCode(Addressing):
    """Every slot, weighted by a function of its score: a dense key of the memory's width N.

    Its parameters are those of `Addressing`, of which the temperature sets the function's scale;
    with `addressing = "dense"` that one is the linear code. Scores have unit variance on average.

    Args:
        width: D, of the context.
        config: the memory's settings, with dense addressing.
        code: scores (B, T, H, N) to weights; they are then scaled to unit length.
    """

    def __init__(self, width: int, config: MemoryConfig, code: Callable[[Tensor], Tensor]):
        super().__init__(width, config)
        self.code = code
        nn.init.zeros_(self.temperature)

    def forward(self, x: Tensor) -> Address:
        """Address contexts (B, T, D): all slots, and their weights (B, T, H, N)."""
        query = normalize(self.query(x).unflatten(-1, (self.config.heads, -1)), dim=-1)
        cosine = torch.einsum("bthk,hnk->bthn", query, normalize(self.keys, dim=-1)).float()
        scale = self.config.key_width**0.5 * self.temperature.exp()[..., 0]
        weight = normalize(self.code(scale * cosine), dim=-1)
        slots = torch.arange(self.config.slots, device=x.device)
        return Address(slots.expand(weight.shape), weight)


def sign(scores: Tensor) -> Tensor:
    """The sign of each score; its gradient passes straight through (Bengio et al. 2013)."""
    return scores + (scores.sign() - scores).detach()


def centred_relu(scores: Tensor) -> Tensor:
    """What is positive, less its mean over the slots."""
    positive = scores.relu()
    return positive - positive.mean(-1, keepdim=True)


def soft_threshold(scores: Tensor) -> Tensor:
    """What exceeds 1, which of normal scores is 16 %; a higher temperature lets more through."""
    return (scores - 1).relu()


class LSTMState(NamedTuple):
    """What B streams have left in an LSTM: its output and its cell, each (1, B, hidden)."""

    output: Tensor
    cell: Tensor

    def detach(self) -> LSTMState:
        """The same values, cut off from the graph."""
        return LSTMState(self.output.detach(), self.cell.detach())


class LSTMMemory(nn.Module):
    """An LSTM that is called like a `SparseMemory`: its state is its only memory.

    Args:
        width: D, of the layer's input, of the feedback and of what it gives.
        hidden: width of its state.
    """

    def __init__(self, width: int, hidden: int):
        super().__init__()
        self.lstm = nn.LSTM(2 * width, hidden, batch_first=True)
        self.output = nn.Linear(hidden, width, bias=False)

    def initial_state(self, batch: int) -> LSTMState:
        """Zeros for B streams."""
        blank = self.output.weight.new_zeros(1, batch, self.lstm.hidden_size)
        return LSTMState(blank, blank)

    def forward(self, x: Tensor, state: LSTMState, *, feedback: Tensor) -> tuple[Tensor, LSTMState]:
        """Go through a segment (B, T, D), each step with what was revealed of the one before."""
        y, after = self.lstm(torch.cat([x, feedback], dim=-1), tuple(state))
        return self.output(y), LSTMState(*after)
