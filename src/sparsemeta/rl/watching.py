"""A life of a trained agent, step by step, in words and pictures."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from sparsemeta.errors import ConfigError
from sparsemeta.rl import cards
from sparsemeta.rl.agent import ActorCritic, Player
from sparsemeta.rl.cards import Image
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import CardSorting, Environment, World
from sparsemeta.rl.environments.card_sorting import CardState
from sparsemeta.rl.evaluation import fitting
from sparsemeta.rl.worlds import RULES, Glimpse, make


class Moment(NamedTuple):
    """One step: what was there, what the agent did and what came of it.

    Attributes:
        text: in words.
        picture: (height, width, 3) uint8, or None if there is none.
    """

    text: str
    picture: Image | None


def watch(
    agent: ActorCritic,
    config: EnvironmentConfig,
    generator: torch.Generator,
    *,
    episodes: int = 1,
    steps: int | None = None,
    greedy: bool = True,
    pictures: bool = False,
) -> Iterator[Moment]:
    """Let an agent live once.

    Args:
        agent: who.
        config: where.
        generator: all chance; on the agent's device.
        episodes: of the life.
        steps: at most; None for as many as the episodes have.
        greedy: whether the agent takes the likeliest action or draws from its policy.
        pictures: whether they are needed.

    Raises:
        ConfigError: the agent does not fit the environment, or pictures are needed of one that
            draws none.
    """
    world = fitting(agent, _rendered(config, pictures), 1)
    player = Player(agent, greedy=greedy, episodes=episodes)
    observation = world.reset(generator)
    player.reset(world, generator)
    ended = 0
    for count in range(1, (steps or world.length * episodes) + 1):
        action = player.act(observation)
        before = _look(world)
        step = world.step(action)
        player.update(observation, action, step.reward, step.done)
        moment = _tell(before, observation, int(action), float(step.reward))
        yield moment._replace(text=f"step {count}\n{moment.text}")
        ended += int(step.done)
        if ended == episodes:
            return
        observation = step.observation


def _rendered(config: EnvironmentConfig, pictures: bool) -> EnvironmentConfig:
    """The same with the render mode that is needed, as far as the environment has it."""
    mode = "rgb_array" if pictures else "ansi"
    if config.id in RULES:
        drawn = isinstance(RULES[config.id], CardSorting)
    else:
        from sparsemeta.rl.adapter import GymWorld

        world = make(replace(config, observe=()), 1)
        assert isinstance(world, GymWorld)
        drawn = mode in world.render_modes
        if drawn:
            config = replace(config, settings=(*config.settings, f"render_mode={mode}"))
    if pictures and not drawn:
        raise ConfigError(f"{config.id} draws no pictures. Leave out --out, and read what it does.")
    return config


def _look(world: World) -> CardState | str | Image | None:
    """What there is to see of the first episode."""
    whole = world.world if isinstance(world, Glimpse) else world
    if isinstance(whole, Environment):
        return whole.state if isinstance(whole.state, CardState) else None
    from sparsemeta.rl.adapter import GymWorld

    assert isinstance(whole, GymWorld)
    return whole.render()


def _tell(
    before: CardState | str | Image | None, observation: Tensor, action: int, reward: float
) -> Moment:
    """A step, by what there was to see, the observation (1, W), the action and its reward."""
    if isinstance(before, CardState):
        right = reward > 0
        picture = cards.mark(cards.picture(before), action, right=right)
        told = f"chosen: [{action}]   {'right' if right else 'wrong'}\n"
        return Moment(cards.text(before) + told, picture)
    seen = " ".join(f"{value:g}" for value in observation[0].tolist())
    told = f"observation: {seen}   action: {action}   reward: {reward:g}\n"
    if isinstance(before, str):
        return Moment(f"{before.rstrip()}\n{told}", None)
    return Moment(told, before)
