"""What a trained agent is worth, beside those who play best: measured, in a table, and drawn."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Column, Table
from torch import Tensor

from sparsemeta.plotting import drawn
from sparsemeta.rl.agent import ActorCritic, Player, fitting
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import Agent, Uniform, find_spec, play
from sparsemeta.run import Progress

TEST = 1 << 31
"""Seeds of evaluation begin here; those of training lie below."""

_STYLES: dict[str, dict[str, Any]] = {
    "agent": {"color": "#d62728", "linewidth": 2.5, "zorder": 3},
    "uniform": {"color": "#aaaaaa", "linestyle": "--"},
}
_BEST: dict[str, Any] = {"color": "#222222", "linestyle": ":", "linewidth": 2.5}
_OTHERS = ("C0", "C2", "C1", "C4")


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
    """
    batch = -(-episodes // per_task)
    env, progress = fitting(agent, config, batch), progress or Progress(quiet=True)
    spec = find_spec(config.id)
    players: dict[str, Agent] = {"agent": Player(agent, greedy=greedy, episodes=per_task)}
    if not alone:
        players |= {name: rival() for name, rival in spec.rivals.items()} | {"uniform": Uniform()}
    found = {}
    for name, player in players.items():
        progress.message(f"{name} plays {batch * per_task} episodes")
        generator = torch.Generator(agent.device).manual_seed(TEST + seed)
        seen = env if name == "agent" else env.unwrapped  # the others see all of an observation
        record = play(seen, player, generator, env.length * per_task)
        counted = record.ended() < per_task  # (T, B)
        measures = {"reward": record.reward, **spec.measures(record)}
        means = {what: _mean((each * counted).sum(0) / per_task) for what, each in measures.items()}
        curve = spec.curve.points(record, counted)
        found[name] = Played(means, curve[curve.isfinite()].tolist())
    return Evaluation(config, batch * per_task, per_task, found)


def _mean(values: Tensor) -> tuple[float, float]:
    """Mean and standard error, which one value has none of."""
    error = values.std().item() / len(values) ** 0.5 if len(values) > 1 else 0.0
    return values.mean().item(), error


def table(found: Evaluation) -> Table:
    """A row for each player: what was measured per episode, mean ± standard error."""
    curve = find_spec(found.environment.id).curve
    measures = [Column(name, justify="right") for name in found.players["agent"].measures]
    last = [curve.title] if curve.ticks else []
    player = Column("player", no_wrap=True)
    result = Table(player, *measures, *last, box=None, header_style="bold", padding=(0, 1))
    for name, played in found.players.items():
        cells = [f"{mean:.2f} ± {error:.2f}" for mean, error in played.measures.values()]
        shares = " ".join(f"{share:.2f}".lstrip("0") for share in played.curve)
        result.add_row(name, *cells, *[shares for _ in last])
    return result


def summary(found: Evaluation) -> str:
    """How the table is to be read."""
    place = " ".join((found.environment.id, *found.environment.settings))
    each = f", {found.per_task} of each task in a row" if found.per_task > 1 else ""
    return (
        f"{place}: per episode, mean ± standard error over {found.episodes} episodes{each}; the "
        "agent's slow weights are frozen"
    )


def to_dict(found: Evaluation) -> dict[str, Any]:
    """All numbers, as JSON has them, and what the curves show."""
    return asdict(found) | {"curve": find_spec(found.environment.id).curve.title}


def plot(found: Evaluation, path: str | Path) -> None:
    """Draw how every player adapts, into a file that ends in one of `plotting.FORMATS`."""
    curve = find_spec(found.environment.id).curve
    marker = "o" if curve.ticks else ""
    with drawn(path, "rl", size=(6, 5)) as (axes,):
        axes.set(title=found.environment.id, xlabel=curve.x, ylabel=curve.y)
        for i, (name, played) in enumerate(found.players.items()):
            if played.curve:
                style = _STYLES.get(name) or (_BEST if i == 1 else {"color": _OTHERS[i % 4]})
                points = range(1, len(played.curve) + 1)
                axes.plot(points, played.curve, label=name, marker=marker, **style)
        if curve.ticks:
            axes.set_xticks(range(1, len(curve.ticks) + 1), curve.ticks)
        if axes.lines:
            axes.legend(frameon=False, fontsize="small")
