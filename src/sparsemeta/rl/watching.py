"""A trained agent at play, step by step, in words and pictures."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import torch

from sparsemeta.errors import require
from sparsemeta.rl.agent import ActorCritic, Player
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import Image, Outcome, find_spec
from sparsemeta.rl.evaluation import fitting
from sparsemeta.rl.making import make


class Moment(NamedTuple):
    """One step: what was there, what the agent did and what came of it."""

    text: str  # in words
    picture: Image | None  # (height, width, 3) uint8, or None if none is needed


def watch(
    agent: ActorCritic,
    config: EnvironmentConfig,
    *,
    episodes: int = 1,
    steps: int | None = None,
    seed: int = 0,
    greedy: bool = True,
    pictures: bool = False,
) -> Iterator[Moment]:
    """Let an agent play one task.

    Args:
        agent: who.
        config: where.
        episodes: of the task, in a row.
        steps: at most; None for as many as the episodes have.
        seed: of all that is random.
        greedy: whether the agent takes the likeliest action or draws from its policy.
        pictures: whether they are needed.

    Raises:
        ConfigError: the agent does not fit the environment, or pictures are needed of one that
            draws none.
    """
    env = fitting(agent, _rendered(config, pictures), 1)
    drawing = find_spec(config.id).drawing
    generator = torch.Generator(agent.device).manual_seed(seed)
    player = Player(agent, greedy=greedy, episodes=episodes)
    observation = env.reset(generator)
    player.reset(env, generator)
    ended = 0
    for count in range(1, (steps or env.length * episodes) + 1):
        action = player.act(observation)
        state = env.unwrapped.render()
        step = env.step(action)
        player.update(observation, action, step.reward, step.done)
        outcome = Outcome(observation[0].tolist(), int(action), float(step.reward))
        yield Moment(
            f"step {count}\n{drawing.text(state)}{drawing.told(outcome)}",
            drawing.picture(state, outcome) if pictures else None,
        )
        ended += int(step.done)
        if ended == episodes:
            return
        observation = step.observation


def _rendered(config: EnvironmentConfig, pictures: bool) -> EnvironmentConfig:
    """The same with the render mode of Gymnasium that is needed, where it draws so."""
    mode = "rgb_array" if pictures else "ansi"
    others = make(config, 1).unwrapped.render_modes
    require(
        not pictures or mode in (*others, *find_spec(config.id).drawing.modes),
        f"{config.id} draws no pictures. Leave out --out, and read what it does.",
    )
    if mode not in others:
        return config
    return replace(config, settings=(*config.settings, f"render_mode={mode}"))
