"""What a trained agent is worth, beside those who play the same environment best."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsemeta.errors import require
from sparsemeta.rl.agent import ActorCritic, Player
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import (
    UCB,
    Agent,
    BernoulliBandit,
    CardSorting,
    Environment,
    Gittins,
    GraphPOMDP,
    Greedy,
    IdealObserver,
    KnownGraph,
    ModelBased,
    ModelFree,
    NoCount,
    Record,
    ReversalBandit,
    ReversalObserver,
    ReversalWinStay,
    Rules,
    Thompson,
    TwoStep,
    Uniform,
    WinStayLoseShift,
    World,
    play,
    recovery,
    stay_probability,
)
from sparsemeta.rl.worlds import Glimpse, make
from sparsemeta.run import Progress

RIVALS: dict[type, dict[str, Callable[[], Agent]]] = {
    CardSorting: {
        "ideal observer": IdealObserver,
        "not counting": NoCount,
        "win-stay-lose-shift": WinStayLoseShift,
    },
    ReversalBandit: {
        "ideal observer": ReversalObserver,
        "win-stay-lose-shift": ReversalWinStay,
    },
    BernoulliBandit: {
        "Gittins index": Gittins,
        "UCB, bonus .2": UCB,
        "greedy": Greedy,
        "Thompson sampling": Thompson,
    },
    TwoStep: {"model-based": ModelBased, "model-free": ModelFree},
    GraphPOMDP: {"known graph": KnownGraph},
}
"""Who plays our environments untrained, the best one first."""

TEST = 1 << 31
"""Seeds of evaluation begin here; those of training lie below."""
SWITCH, STEP = "errors by trial after a switch", "reward by step"
STAY = "stays: unpaid rare, unpaid common, paid rare, paid common"
"""What curves are of: the last, how often a first choice is repeated by what came of it."""
ENOUGH = 30
"""Switches that a player must have met for a curve: shares of fewer say nothing."""


@dataclass(frozen=True)
class Played:
    """How one player did.

    Attributes:
        measures: mean and standard error per episode, by name.
        curve: as `Evaluation.curve` says, from the first trial or step on; empty if unknown.
    """

    measures: dict[str, tuple[float, float]]
    curve: list[float]


@dataclass(frozen=True)
class Evaluation:
    """How an agent and others did in the same environment.

    Attributes:
        environment: which.
        lives: that each played.
        episodes: of a life.
        curve: what the curves are of, `SWITCH`, `STAY` or `STEP`.
        players: by name; the agent is the first.
    """

    environment: EnvironmentConfig
    lives: int
    episodes: int
    curve: str
    players: dict[str, Played]


def evaluate(
    agent: ActorCritic,
    config: EnvironmentConfig,
    *,
    lives: int = 1024,
    episodes: int = 1,
    seed: int = 0,
    greedy: bool = True,
    alone: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Let a trained agent play; its slow weights are only read.

    Args:
        agent: who; on its device all is played.
        config: where, not necessarily where it was trained.
        lives: side by side, each of them new.
        episodes: of a life, over which the agent keeps its fast weights. What it earns is counted
            until they are over or, where an episode has no end, for as many steps as it may have.
        seed: of all chance; each player is given the same.
        greedy: whether the agent takes the likeliest action or draws from its policy.
        alone: whether only the agent plays.
        progress: where to show who plays.

    Raises:
        ConfigError: there is no such environment, or the agent does not fit it.
    """
    world, progress = fitting(agent, config, lives), progress or Progress(quiet=True)
    whole = world.world if isinstance(world, Glimpse) else world  # others see all of it
    rules = whole.rules if isinstance(whole, Environment) else None
    places: dict[str, tuple[World, Agent]] = {
        "agent": (world, Player(agent, greedy=greedy, episodes=episodes))
    }
    if not alone:
        rivals = {**RIVALS.get(type(rules), {}), "uniform": Uniform}
        places |= {name: (whole, rival()) for name, rival in rivals.items()}
    players = {}
    for name, (place, player) in places.items():
        progress.message(f"{name} plays {lives} {'life' if lives == 1 else 'lives'}")
        generator = torch.Generator(next(agent.parameters()).device).manual_seed(TEST + seed)
        record = play(place, player, generator, place.length * episodes)
        players[name] = _measure(rules, record, episodes)
    curve = {CardSorting: SWITCH, TwoStep: STAY}.get(type(rules), STEP)
    return Evaluation(config, lives, episodes, curve, players)


def fitting(agent: ActorCritic, config: EnvironmentConfig, batch: int) -> World:
    """B episodes of an environment that an agent can live in.

    Raises:
        ConfigError: there is no such environment, or its observations are of another width or its
            actions of another number than the agent's.
    """
    world = make(config, batch)
    require(
        (world.width, world.actions) == (agent.inputs, agent.actions),
        f"{config.id} has observations of width {world.width} and {world.actions} actions; the "
        f"agent was trained on width {agent.inputs} and {agent.actions} actions. Choose another "
        "environment, or its settings and `observe` so that both are the same.",
    )
    return world


def _measure(rules: Rules | None, record: Record[Any], episodes: int) -> Played:
    within = record.done.cumsum(0) - record.done.long() < episodes  # (T, B), of the life
    info = record.info
    counted: Mapping[str, Tensor] = {}
    match rules:
        case CardSorting():
            counted = {
                "errors": 1 - record.reward,
                "perseverative": info.perseverative,
                "categories": info.completed,
            }
        case ReversalBandit():
            counted = {"better arm": info.correct}
        case BernoulliBandit():
            counted = {"regret": info.regret}
        case GraphPOMDP():
            counted = {"goals": info.reached}
    measures = {
        name: _mean((values * within).sum(0) / episodes)
        for name, values in {"reward": record.reward, **counted}.items()
    }
    if isinstance(rules, CardSorting):
        curve = recovery(record) if info.completed.sum() >= ENOUGH else torch.empty(0)
    elif isinstance(rules, TwoStep):
        stays = stay_probability(record).flatten()
        curve = stays if stays.isfinite().all() else torch.empty(0)
    else:
        curve = (record.reward * within).sum(1) / within.sum(1)
    return Played(measures, curve[curve.isfinite()].tolist())


def _mean(values: Tensor) -> tuple[float, float]:
    """Mean and standard error, which one value has none of."""
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else 0.0
    return values.mean().item(), error
