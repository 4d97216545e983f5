"""Who plays the two-step task: an observer with the model of it, and a learner without one."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsemeta.rl.environments.environment import World, rules_of
from sparsemeta.rl.environments.two_step import (
    BOUNDS,
    TwoStep,
    choice,
    reflect,
)

GRID = 51  # values of what a choice may pay, between the bounds


class ModelBased:
    r"""Bayesian filter of what each second choice pays, on a grid; it chooses the best mean.

    The first choice k is worth $c \max Q(k) + (1 - c) \max Q(1 - k)$, with c the probability of
    the common way. Greedy: it does not explore.
    """

    def reset(self, environment: World, generator: torch.Generator) -> None:
        """Believe what is true of every episode."""
        rules = rules_of(environment, TwoStep)
        self._common = rules.common
        self._pays = torch.linspace(*BOUNDS, GRID, device=generator.device)
        self._walk = _walk(self._pays, rules.walk)
        self._prior = torch.full((4, GRID), 1 / GRID, device=generator.device)
        self._belief = self._prior.expand(environment.batch, 4, GRID)

    def act(self, observation: Tensor) -> Tensor:
        """The better choice, (B,)."""
        mean = (self._belief @ self._pays).view(-1, 2, 2)  # by stage and choice
        best = mean.amax(2)
        first = self._common * best + (1 - self._common) * best.flip(1)
        values = torch.cat([first[:, None], mean], dim=1)
        stage = observation.argmax(1)
        return values[torch.arange(len(stage), device=stage.device), stage].argmax(1)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Filter by the reward of a second choice, then by the walk."""
        stage = observation.argmax(1)
        row, chosen = torch.arange(len(stage), device=stage.device), choice(stage, action)
        likelihood = torch.where(reward[:, None] > 0, self._pays, 1 - self._pays)
        belief = self._belief.clone()
        belief[row, chosen] *= likelihood
        belief = (belief / belief.sum(-1, keepdim=True)) @ self._walk
        belief = torch.where(stage[:, None, None] == 0, self._belief, belief)
        self._belief = torch.where(done[:, None, None], self._prior, belief)


class ModelFree:
    r"""SARSA(1): the reward of a trial moves the values of both its choices; softmax.

    $Q \leftarrow Q + \alpha (r - Q)$, and a choice has probability $\propto \exp(Q / \tau)$.

    Args:
        rate: the learning rate, alpha.
        temperature: tau.
    """

    def __init__(self, rate: float = 0.5, temperature: float = 0.2):
        self._rate, self._temperature = rate, temperature

    def reset(self, environment: World, generator: torch.Generator) -> None:
        """Value everything one half."""
        self._generator = generator
        self._value = torch.full((environment.batch, 3, 2), 0.5, device=generator.device)
        self._first = torch.zeros(environment.batch, dtype=torch.int64, device=generator.device)

    def act(self, observation: Tensor) -> Tensor:
        """A choice at random, the more often the more it is worth, (B,)."""
        stage = observation.argmax(1)
        values = self._value[torch.arange(len(stage), device=stage.device), stage]
        odds = (values / self._temperature).softmax(1)
        return torch.multinomial(odds, 1, generator=self._generator).squeeze(1)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Move the values of both choices of a trial, when its second one is made."""
        stage = observation.argmax(1)
        row, second = torch.arange(len(stage), device=stage.device), stage > 0
        value = self._value.clone()
        for where, chosen in ((stage, action), (torch.zeros_like(stage), self._first)):
            old = self._value[row, where, chosen]
            value[row, where, chosen] = torch.where(second, old + self._rate * (reward - old), old)
        self._first = torch.where(second, self._first, action)
        self._value = torch.where(done[:, None, None], 0.5, value)


def _walk(pays: Tensor, deviation: float) -> Tensor:
    """The probability (GRID, GRID) of what is paid next, reflected at the bounds."""
    if deviation == 0:
        return torch.eye(len(pays), device=pays.device)
    cell = pays[1] - pays[0]
    offset = torch.linspace(-4, 4, 161, device=pays.device)
    weight = (-offset.square() / 2).softmax(0)
    arrived = reflect(pays[:, None] + deviation * offset)
    index = ((arrived - pays[0]) / cell).round().long()
    moves = torch.zeros(len(pays), len(pays), device=pays.device)
    return moves.scatter_add_(1, index, weight.expand(index.shape))
