"""Segments of experience: played by the policy as it is, with the advantage of every action."""

from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor

from sparsemeta.nn import MetaRNNState, Percept
from sparsemeta.rl.agent import ActorCritic, Player, draw
from sparsemeta.rl.config import TrainingConfig
from sparsemeta.rl.environments import VectorEnv


class Rollout(NamedTuple):
    """T steps of B environments."""

    state: MetaRNNState  # before the first step
    seen: Percept  # at every step
    fresh: Tensor  # (B, T) bool, where a task begins
    action: Tensor  # (B, T) int64
    log_probability: Tensor  # (B, T), of the action when it was taken
    advantage: Tensor  # (B, T), of the action over what was expected
    target: Tensor  # (B, T), what the critic should have expected

    def select(self, rows: Tensor) -> Self:
        """Some of the environments, by index."""
        state, seen, *rest = self
        part = Percept(*(tensor[rows] for tensor in seen))
        return type(self)(state.select(rows), part, *(tensor[rows] for tensor in rest))


class Collector:
    """Plays B environments on and on, a segment at a time; the generator draws all at random."""

    def __init__(
        self, agent: ActorCritic, world: VectorEnv, generator: Generator, config: TrainingConfig
    ):
        self._world, self._generator, self._config = world, generator, config
        self._player = Player(agent, episodes=config.episodes)
        self._player.reset(world, generator)
        self._observation = world.reset(generator)
        self._sum = torch.zeros(world.batch, device=generator.device)
        self.returns: list[float] = []  # of the episodes that ended since it was last emptied

    def collect(self) -> Rollout:
        """Play a segment."""
        config, state = self._config, self._player.state.clone()
        seen, *rest = zip(*(self._take_step() for _ in range(config.segment)), strict=True)
        seen = Percept(*(torch.cat(parts, dim=1) for parts in zip(*seen, strict=True)))
        fresh, action, log_old, value, reward, done = (torch.stack(each, dim=1) for each in rest)
        last = self._player.value(self._observation)
        advantage = advantages(reward, value, done, last, config.discount, config.trace)
        return Rollout(state, seen, fresh, action, log_old, advantage, advantage + value)

    def _take_step(self) -> tuple[Percept, *tuple[Tensor, ...]]:
        """One step in each: what was seen, whether afresh, and what was made of it."""
        player, observation = self._player, self._observation
        seen, fresh = player.percept(observation), player.fresh
        found = player.policy_value(observation)
        action = draw(found.logits, self._generator)
        log_probability = found.logits.log_softmax(-1).gather(1, action[:, None])
        step = self._world.step(action)
        earned = step.reward * self._config.reward_scale
        if step.truncated is not None and step.truncated.any():
            # A time limit is no end: what would have followed is worth what the critic expects.
            player.update(observation, action, step.reward, torch.zeros_like(step.done))
            earned += self._config.discount * step.truncated * player.value(step.final)
        player.update(observation, action, step.reward, step.done)
        self._observation = step.observation
        self._sum = self._sum + step.reward
        if step.done.any():
            self.returns += self._sum[step.done].tolist()
            self._sum = self._sum * ~step.done
        return seen, fresh[:, 0], action, log_probability[:, 0], found.value, earned, step.done


def advantages(
    reward: Tensor, value: Tensor, done: Tensor, last: Tensor, discount: float, trace: float
) -> Tensor:
    r"""Generalised advantages (Schulman et al. 2016, equation 16).

    $$\hat A_t = \delta_t + \gamma \lambda \hat A_{t+1}, \qquad
      \delta_t = r_t + \gamma V_{t+1} - V_t$$

    (B, T), where nothing follows the end of an episode, and what follows the last step is worth
    `last` (B,); gamma is the discount, lambda the trace.
    """
    goes_on = discount * ~done
    surprise = reward + goes_on * torch.cat([value[:, 1:], last[:, None]], dim=1) - value
    found, after = [], torch.zeros_like(last)
    for t in reversed(range(reward.shape[1])):
        after = surprise[:, t] + goes_on[:, t] * trace * after
        found.append(after)
    return torch.stack(found[::-1], dim=1)
