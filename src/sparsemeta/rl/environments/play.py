"""Scripted agents: what one is, and the one loop that plays any of them anywhere."""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol

import torch
from torch import Tensor

from sparsemeta.rl.environments.environment import I, World


class Agent(Protocol):
    """Plays B episodes at once and learns within each. What `update` gets is all it may know."""

    def reset(self, environment: World, generator: torch.Generator) -> None:
        """Forget everything; B new episodes of the environment begin."""
        ...

    def act(self, observation: Tensor) -> Tensor:
        """Choose by the observations (B, W): actions (B,) int64."""
        ...

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Learn what came of the actions taken on the observations; forget where done."""
        ...


class Uniform:
    """Every action with equal probability, always."""

    def reset(self, environment: World, generator: torch.Generator) -> None:
        """Note how many actions there are."""
        self._actions, self._generator = environment.actions, generator

    def act(self, observation: Tensor) -> Tensor:
        """Draw B actions."""
        shape, device = (len(observation),), self._generator.device
        return torch.randint(self._actions, shape, generator=self._generator, device=device)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Learn nothing."""


class Record(NamedTuple, Generic[I]):
    """What happened in T steps of B episodes side by side.

    Attributes:
        action: (T, B) int64.
        reward: (T, B) float32.
        done: (T, B) bool.
        info: of the steps, each (T, B).
    """

    action: Tensor
    reward: Tensor
    done: Tensor
    info: I

    def returns(self) -> Tensor:
        """The sum of rewards of every episode that began and ended in it, (E,) float32."""
        ended = self.done.cumsum(0) - self.done.long()  # episodes before the step's own
        sums = self.reward.new_zeros(int(ended.max()) + 1, self.reward.shape[1])
        sums.scatter_add_(0, ended, self.reward)
        complete = torch.arange(len(sums), device=sums.device)[:, None] < self.done.sum(0)
        return sums[complete]


def play(
    environment: World,
    agent: Agent,
    generator: torch.Generator,
    steps: int | None = None,
) -> Record:
    """Play from a reset on.

    Args:
        environment: of B episodes.
        agent: who plays.
        generator: all chance, the environment's and the agent's.
        steps: T; by default as many as the longest episode has.

    Returns:
        What happened.
    """
    observation = environment.reset(generator)
    agent.reset(environment, generator)
    taken = []
    for _ in range(steps or environment.length):
        action = agent.act(observation)
        step = environment.step(action)
        agent.update(observation, action, step.reward, step.done)
        taken.append((action, step.reward, step.done, step.info))
        observation = step.observation
    action, reward, done, info = zip(*taken, strict=True)
    merged = type(info[0])(*(torch.stack(field) for field in zip(*info, strict=True)))
    return Record(torch.stack(action), torch.stack(reward), torch.stack(done), merged)
