"""Agents, what they leave behind, and the one loop that plays any of them anywhere."""

from abc import ABC, abstractmethod
from typing import Generic, NamedTuple

import torch
from torch import Tensor

from sparsemeta.rl.environments.rules import Info
from sparsemeta.rl.environments.vector import VectorEnv


class Agent(ABC):
    """Plays B episodes at once and learns within each. What `update` gets is all it may know."""

    @abstractmethod
    def reset(self, environment: VectorEnv, generator: torch.Generator) -> None:
        """Forget everything; B new episodes of the environment begin."""

    @abstractmethod
    def act(self, observation: Tensor) -> Tensor:
        """Choose by the observations (B, W): actions (B,) int64."""

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Learn what came of the actions (B,) taken on the observations; forget where done.

        An agent that does not learn leaves this out.
        """
        return


class Uniform(Agent):
    """Every action with equal probability, always."""

    def reset(self, environment: VectorEnv, generator: torch.Generator) -> None:
        """Note how many actions there are."""
        self._actions, self._generator = environment.actions, generator

    def act(self, observation: Tensor) -> Tensor:
        """Draw B actions."""
        shape, device = (len(observation),), self._generator.device
        return torch.randint(self._actions, shape, generator=self._generator, device=device)


class Record(NamedTuple, Generic[Info]):
    """What happened in T steps of B environments side by side."""

    action: Tensor  # (T, B) int64
    reward: Tensor  # (T, B) float32
    done: Tensor  # (T, B) bool
    info: Info  # of the steps, each (T, B)

    def returns(self) -> Tensor:
        """The sum of rewards of every episode that began and ended in it, (E,) float32."""
        ended = self.ended()
        sums = self.reward.new_zeros(int(ended.max()) + 1, self.reward.shape[1])
        sums.scatter_add_(0, ended, self.reward)
        complete = torch.arange(len(sums), device=sums.device)[:, None] < self.done.sum(0)
        return sums[complete]

    def ended(self) -> Tensor:
        """How many episodes of its environment were over before each step, (T, B) int64."""
        return self.done.cumsum(0) - self.done.long()


def play(
    environment: VectorEnv,
    agent: Agent,
    generator: torch.Generator,
    steps: int | None = None,
) -> Record:
    """Play from a reset on.

    Args:
        environment: B of them side by side.
        agent: who plays.
        generator: draws all that is random, for the environment and the agent.
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
