"""`Gate`: how far each head is believed, learned while reading, as plain tensors."""

from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Tensor

from output_memory import gate_native
from output_memory.gate_reference import SETS, evidence
from output_memory.tables import Found


class Rates(NamedTuple):
    """The rate is first / sqrt(times moved), but never less than the least."""

    first: float = 4.0
    least: float = 0.1


RATES = Rates()


class Mixed(NamedTuple):
    """What a gate made of a segment.

    Attributes:
        log_q: (T,), the log-probability of each token under the mixture.
        weights: (T, 1 + H), of the model and of the heads; they sum to one.
        gradient: (T, 1 + H), of log q by the model's log p and by the trained part of the gate,
            with what was learned while reading held fixed.
    """

    log_q: Tensor
    weights: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class Gate:
    """The learned part of the gate of one stream. An immutable value.

    Attributes:
        theta: (H, SETS), the logits of speaking rather than backing off, by evidence.
        count: (H, SETS) int64, how often each was moved.
    """

    theta: Tensor
    count: Tensor

    @classmethod
    def start(cls, theta: Tensor) -> Self:
        """Nothing learned yet: begin at the logits (H,) or (H, SETS), which may be trained."""
        theta = theta.detach().double().view(len(theta), -1).expand(-1, SETS).clone()
        return cls(theta, torch.zeros_like(theta, dtype=torch.int64))

    def mix(
        self, log_p: Tensor, found: Found, slow: Tensor | None = None, rates: Rates = RATES
    ) -> tuple[Mixed, Self]:
        """Mix what the model and the heads said of a segment's tokens, and learn from it.

        Args:
            log_p: (T,), the model's log-probability of each token.
            found: what the heads said, the shortest context first.
            slow: (T, H), the trained part of the logits; None is zero.
            rates: of the learning.
        """
        p, mass = found.p.double(), found.mass.double()
        slow = torch.zeros_like(p) if slow is None else slow.detach().double()
        theta, count, log_q = self.theta.clone(), self.count.clone(), p.new_empty(len(p))
        weights, gradient = p.new_empty(2, len(p), 1 + p.shape[1])
        sets = evidence(mass, found.distinct)
        given = (log_p.detach().double(), p, mass, sets, slow, theta, count)
        gate_native.gate(
            *(x.numpy() for x in given), *rates, *(x.numpy() for x in (log_q, weights, gradient))
        )
        return Mixed(log_q, weights, gradient), type(self)(theta, count)

    def weights(self, mass: Tensor, distinct: Tensor, slow: Tensor | None = None) -> Tensor:
        """The weights (1 + H,) of model and heads at one step, by their evidence (H,)."""
        nothing = mass.new_zeros(1, len(mass))
        found = Found(nothing, mass[None], distinct[None])
        slow = None if slow is None else slow[None]
        mixed, _ = self.mix(mass.new_zeros(1), found, slow)
        return mixed.weights[0]
