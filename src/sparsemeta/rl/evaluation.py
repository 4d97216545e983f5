"""What a trained agent is worth, beside those who play the same environment best."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsemeta.errors import require
from sparsemeta.rl.agent import ActorCritic, Player
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import (
    Agent,
    EnvironmentSpec,
    Record,
    Uniform,
    VectorEnv,
    find_spec,
    play,
)
from sparsemeta.rl.making import make
from sparsemeta.run import Progress

TEST = 1 << 31
"""Seeds of evaluation begin here; those of training lie below."""


@dataclass(frozen=True)
class Played:
    """How one player did."""

    measures: Mapping[str, tuple[float, float]]  # mean and standard error per episode, by name
    curve: list[float]  # the points of the environment's curve; empty if unknown


@dataclass(frozen=True)
class Evaluation:
    """How an agent and others did in the same environment."""

    environment: EnvironmentConfig
    episodes: int  # that each played
    per_task: int  # how many of them were of one task, in a row
    players: Mapping[str, Played]  # by name; the agent is the first


def evaluate(
    agent: ActorCritic,
    config: EnvironmentConfig,
    *,
    episodes: int = 1024,
    per_task: int = 1,
    seed: int = 0,
    greedy: bool = True,
    alone: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Let a trained agent play; its slow weights are only read.

    Args:
        agent: who; on its device all is played.
        config: where, not necessarily where it was trained.
        episodes: that each player plays, raised to a multiple of `per_task`. What it earns is
            counted until they are over or, where one has no end, for as many steps as it may have.
        per_task: episodes of one task in a row, over which the agent keeps its fast weights.
        seed: of all that is random; each player is given the same.
        greedy: whether the agent takes the likeliest action or draws from its policy.
        alone: whether only the agent plays.
        progress: where to show who plays.

    Raises:
        ConfigError: there is no such environment, or the agent does not fit it.
    """
    batch = -(-episodes // per_task)
    env, progress = fitting(agent, config, batch), progress or Progress(quiet=True)
    spec = find_spec(config.id)
    sides: dict[str, tuple[VectorEnv, Agent]] = {
        "agent": (env, Player(agent, greedy=greedy, episodes=per_task))
    }
    if not alone:  # the others see all of an observation
        rivals = {**spec.rivals, "uniform": Uniform}
        sides |= {name: (env.unwrapped, rival()) for name, rival in rivals.items()}
    players = {}
    for name, (seen, player) in sides.items():
        progress.message(f"{name} plays {batch * per_task} episodes")
        generator = torch.Generator(agent.device).manual_seed(TEST + seed)
        record = play(seen, player, generator, env.length * per_task)
        players[name] = _measure(spec, record, per_task)
    return Evaluation(config, batch * per_task, per_task, players)


def fitting(agent: ActorCritic, config: EnvironmentConfig, batch: int) -> VectorEnv:
    """B environments side by side that an agent can play.

    Raises:
        ConfigError: there is no such environment, or its observations are of another width or its
            actions of another number than the agent's.
    """
    env = make(config, batch)
    require(
        (env.width, env.actions) == (agent.inputs, agent.actions),
        f"{config.id} has observations of width {env.width} and {env.actions} actions; the "
        f"agent was trained on width {agent.inputs} and {agent.actions} actions. Choose another "
        "environment, or its settings and `observe` so that both are the same.",
    )
    return env


def _measure(spec: EnvironmentSpec, record: Record, per_task: int) -> Played:
    counted = record.ended() < per_task  # (T, B)
    measures = {"reward": record.reward, **spec.measures(record)}
    curve = spec.curve.points(record, counted)
    return Played(
        {name: _mean((values * counted).sum(0) / per_task) for name, values in measures.items()},
        curve[curve.isfinite()].tolist(),
    )


def _mean(values: Tensor) -> tuple[float, float]:
    """Mean and standard error, which one value has none of."""
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else 0.0
    return values.mean().item(), error
