"""What a sparse memory is compared with: other keys, a recurrent network, classifiers.

A `SparseMemory` is made with a `DenseCode` for its addressing, a `StreamLearner` with an
`LSTMMemory` for its memory: one loop trains and scores them all. The classifiers need no training;
they are called like a `StreamLearner` of labels, with inputs (B, T, D), and give logits
(B, T, outputs) and their state.
"""

from collections.abc import Callable
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from sparsemeta.config import MemoryConfig
from sparsemeta.nn import Addressing
from sparsemeta.ops import Address


class DenseCode(Addressing):
    """Every slot, weighted by a function of its score: a dense key of the memory's width N.

    Its parameters are those of `Addressing`, of which the temperature sets the function's scale;
    with `addressing = "dense"` that one is the linear code. Scores have unit variance on average;
    the code takes them, (B, T, H, N), to weights, which are then scaled to unit length.
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


DENSE_CODES = {"sign": sign, "centred-relu": centred_relu, "soft-threshold": soft_threshold}


class LSTMState(NamedTuple):
    """What B streams have left in an LSTM: its output and its cell, each (1, B, hidden)."""

    output: Tensor
    cell: Tensor

    def detach(self) -> Self:
        """The same values, cut off from the graph."""
        return self._make(tensor.detach() for tensor in self)


class LSTMMemory(nn.Module):
    """An LSTM called like a `SparseMemory`: its state, `hidden` wide, is its only memory."""

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


class SoftmaxSGD(nn.Module):
    """A linear softmax classifier; every lesson is a step of gradient descent, of size `rate`."""

    def __init__(self, outputs: int, rate: float):
        super().__init__()
        self.outputs, self.rate = outputs, rate

    @torch.no_grad()
    def forward(
        self, inputs: Tensor, feedback: Tensor, taught: Tensor, state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Go through a segment; the state is the weights, (B, outputs, D + 1) with the bias."""
        x = torch.cat([inputs, torch.ones_like(inputs[..., :1])], dim=-1)
        label = one_hot(feedback, self.outputs).to(x.dtype)
        size = len(x), self.outputs, x.shape[-1]
        weight = x.new_zeros(size) if state is None else state.clone()
        logits = []
        for now, truth, told in zip(x.unbind(1), label.unbind(1), taught.unbind(1), strict=True):
            logits.append((weight @ now[..., None]).squeeze(-1))
            error = (truth - logits[-1].softmax(-1)) * told[:, None]
            weight += self.rate * error[..., None] * now[:, None]
        return torch.stack(logits, dim=1), weight


class LDAState(NamedTuple):
    """What B streams have shown of C classes, and the covariance within them."""

    mean: Tensor  # (B, C, D)
    seen: Tensor  # (B, C), how often each class was
    covariance: Tensor  # (B, D, D)


class StreamingLDA(nn.Module):
    r"""Linear discriminant analysis with running means and covariance (Hayes and Kanan 2020).

    After t lessons, the next one, x of class y, gives
    $$\Sigma \leftarrow \frac{t}{t+1} \Sigma + \frac{t}{(t+1)^2} (x - \mu_y)(x - \mu_y)^\top$$
    and then a new $\mu_y$. Classified is by $\Lambda = ((1 - \epsilon) \Sigma + \epsilon I)^{-1}$,
    with the shrinkage $\epsilon$.
    """

    def __init__(self, outputs: int, shrinkage: float = 1e-4):
        super().__init__()
        self.outputs, self.shrinkage = outputs, shrinkage

    @torch.no_grad()
    def forward(
        self, inputs: Tensor, feedback: Tensor, taught: Tensor, state: LDAState | None = None
    ) -> tuple[Tensor, LDAState]:
        """Go through a segment; a class that was never shown has a logit of minus infinity."""
        if state is None:
            batch, _, width = inputs.shape
            sizes = (self.outputs, width), (self.outputs,), (width, width)
            state = LDAState(*(inputs.new_zeros(batch, *size) for size in sizes))
        now, (weight, bias) = state, self._readout(state)
        logits = []
        for x, label, told in zip(*(t.unbind(1) for t in (inputs, feedback, taught)), strict=True):
            logits.append((weight @ x[..., None]).squeeze(-1) + bias)
            if told.any():
                now = self._learned(now, x, label, told.to(x.dtype))
                weight, bias = self._readout(now)
        return torch.stack(logits, dim=1), now

    @staticmethod
    def _learned(state: LDAState, x: Tensor, label: Tensor, told: Tensor) -> LDAState:
        """The state after a lesson: x (B, D), label (B,), and 1 where it was revealed, (B,)."""
        row = torch.arange(len(x), device=x.device)
        mean, seen, covariance = state
        lessons = seen.sum(1)
        off = x - mean[row, label]
        spread = off[..., None] * off[:, None] * (lessons / (lessons + 1))[:, None, None]
        covariance = covariance + (spread - covariance) * (told / (lessons + 1))[:, None, None]
        seen = seen.index_put((row, label), told, accumulate=True)
        share = told / seen[row, label].clamp(min=1)
        mean = mean.index_put((row, label), off * share[:, None], accumulate=True)
        return LDAState(mean, seen, covariance)

    def _readout(self, state: LDAState) -> tuple[Tensor, Tensor]:
        """The weights (B, C, D) and biases (B, C) of the linear classifier."""
        spread = (1 - self.shrinkage) * state.covariance
        spread.diagonal(dim1=1, dim2=2).add_(self.shrinkage)
        weight = torch.linalg.solve(spread, state.mean.mT).mT
        bias = -(weight * state.mean).sum(-1) / 2
        return weight, bias.masked_fill(state.seen == 0, -torch.inf)
