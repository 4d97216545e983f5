"""Agents that learn within their life, over several seeds: card sorting, reversal, bandit.

    python experiments/control/run.py card-sorting reversal bandit

trains every model on every seed by recipes/rl, plays each greedily with its weights frozen, and
writes TASK.json, TASK.md and TASK.png beside this file. Stopped, it goes on where it was.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Literal

import torch
import tyro

from sparsemeta.config import read_toml
from sparsemeta.engine import Progress
from sparsemeta.rl.agent import ActorCritic, Player
from sparsemeta.rl.config import AgentConfig, EnvironmentConfig, Recipe
from sparsemeta.rl.environments import (
    UCB,
    Agent,
    Gittins,
    IdealObserver,
    NoCount,
    ReversalObserver,
    Thompson,
    WinStayLoseShift,
    play,
    recovery,
)
from sparsemeta.rl.training import train
from sparsemeta.rl.worlds import make

HERE = Path(__file__).parent
RECIPES = HERE.parent.parent / "recipes" / "rl"

# What each task is asked about: as trained, and where nothing was trained.
TRANSFERS: dict[str, dict[str, tuple[str, ...]]] = {
    "card-sorting": {
        "T = 128": (),
        "T = 512": ("length=512",),
        "criterion 3 to 5": ("criterion=[3, 5]",),
        "criterion 15 to 20": ("criterion=[15, 20]",),
    },
    "reversal": {
        "h = .05": (),
        "h = .02": ("hazard=0.02",),
        "h = .1": ("hazard=0.1",),
        "T = 400": ("length=400",),
    },
    "bandit": {"T = 100": (), "T = 50": ("length=50",), "T = 200": ("length=200",)},
}
SCRIPTED: dict[str, dict[str, Agent]] = {
    "card-sorting": {
        "ideal observer": IdealObserver(),
        "without counting": NoCount(),
        "win-stay-lose-shift": WinStayLoseShift(),
    },
    "reversal": {"ideal observer": ReversalObserver()},
    "bandit": {"Gittins": Gittins(), "UCB, bonus .2": UCB(), "Thompson": Thompson()},
}


@dataclass
class Options:
    """Agents that learn within their life, over several seeds."""

    tasks: tyro.conf.Positional[tuple[Literal["card-sorting", "reversal", "bandit"], ...]] = (
        "reversal",
        "card-sorting",
        "bandit",
    )
    """What is learned."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of weights and experience; every model is trained on each."""
    runs: Path = Path("runs/control")
    """Where the runs go."""
    episodes: int = 1024
    """That each agent is tested on, per condition."""


def models(recipe: Recipe) -> dict[str, AgentConfig]:
    """The sparse agent, and others of as many parameters."""
    sparse = recipe.agent
    dense = replace(sparse, memory=replace(sparse.memory, addressing="dense", active=1))
    found = {"sparse": sparse, "dense": dense}
    for core in ("gru", "lstm"):
        plain = AgentConfig(core=core, adaptive=False)
        widths = (replace(plain, width=width) for width in range(32, 160))
        wanted = size(recipe, sparse)
        found[core] = min(widths, key=lambda agent: abs(size(recipe, agent) - wanted))
    return found


def size(recipe: Recipe, agent: AgentConfig) -> int:
    """How many parameters an agent has."""
    world = make(recipe.environment, 1)
    return sum(p.numel() for p in ActorCritic(world.width, world.actions, agent).parameters())


def measure(environment: EnvironmentConfig, agent: Agent, options: Options) -> dict[str, Any]:
    """Play one episode in each of many environments, on streams that nothing was trained on."""
    world = make(environment, options.episodes)
    record = play(world, agent, torch.Generator().manual_seed(1 << 40))
    found: dict[str, Any] = {"reward": record.returns().mean().item()}
    if "CardSorting" in environment.id:
        found["errors"] = world.length - found["reward"]
        found["perseverative"] = record.info.perseverative.sum(0).float().mean().item()
        found["categories"] = record.info.category[-1].float().mean().item()
        found["recovery"] = [round(p, 4) for p in recovery(record).tolist()]
    return {name: round(x, 3) if isinstance(x, float) else x for name, x in found.items()}


def run(task: str, name: str, agent: AgentConfig, seed: int, options: Options) -> dict[str, Any]:
    """Train and test one model on one seed, or take what was found before."""
    folder = options.runs / f"{task}-{name}-{seed}"
    scores = folder / "scores.json"
    if not scores.exists():
        recipe = read_toml(RECIPES / f"{task}.toml", Recipe)
        recipe = replace(recipe, agent=agent, training=replace(recipe.training, seed=seed))
        began = time.process_time()
        trained = train(recipe, folder, progress=Progress()).eval()
        seconds = time.process_time() - began
        before = [p.clone() for p in trained.parameters()]
        found = {
            "parameters": size(recipe, agent),
            "cpu_seconds": round(seconds),
            "conditions": {
                name: measure(
                    replace(recipe.environment, settings=settings), Player(trained), options
                )
                for name, settings in TRANSFERS[task].items()
            },
            "curve": curve(folder / "log.jsonl"),
        }
        # What it adapts with is its state: the weights are those that training left.
        assert all(torch.equal(p, q) for p, q in zip(before, trained.parameters(), strict=True))
        scores.write_text(json.dumps(found) + "\n")
    return json.loads(scores.read_text())


def curve(log: Path, points: int = 50) -> list[tuple[int, float]]:
    """Mean return by environment steps, thinned."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    kept = [line for line in lines if line["return"] is not None]
    every = max(1, len(kept) // points)
    return [(line["environment_steps"], round(line["return"], 2)) for line in kept[::every]]


def table(task: str, found: dict[str, Any]) -> str:
    """A row for each model: mean and standard deviation over the seeds."""
    what = "errors" if task == "card-sorting" else "reward"
    conditions = list(TRANSFERS[task])
    header = ["agent", "parameters", "CPU seconds", *conditions]
    rows = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, runs in found["trained"].items():
        scores = [spread([run["conditions"][c][what] for run in runs.values()]) for c in conditions]
        seconds = mean(run["cpu_seconds"] for run in runs.values())
        first = next(iter(runs.values()))
        rows.append(f"| {name} | {first['parameters']:,} | {seconds:.0f} | {' | '.join(scores)} |")
    for name, scores in found["scripted"].items():
        cells = [f"{scores[c][what]:.2f}" for c in conditions]
        rows.append(f"| {name} | | | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n" + after_a_switch(found)


def after_a_switch(found: dict[str, Any]) -> str:
    """Of card sorting: errors by trial after a switch, and what else is counted."""
    first = next(iter(found["scripted"].values()))["T = 128"] if found["scripted"] else {}
    if "recovery" not in first:
        return ""
    rows = ["", "| agent | error at trial 1 | 2 | 3 | 4 | 5 | perseverative | categories |"]
    rows.append("|---" * 8 + "|")
    seeds = {
        name: [run["conditions"]["T = 128"] for run in runs.values()]
        for name, runs in found["trained"].items()
    }
    for name, runs in {
        **seeds,
        **{k: [v["T = 128"]] for k, v in found["scripted"].items()},
    }.items():
        errors = [f"{mean(run['recovery'][n] for run in runs):.3f}" for n in range(5)]
        others = [f"{mean(run[k] for run in runs):.1f}" for k in ("perseverative", "categories")]
        rows.append(f"| {' | '.join([name, *errors, *others])} |")
    return "\n".join(rows) + "\n"


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    return f"{mean(values):.2f} ± {stdev(values) if len(values) > 1 else 0:.2f}"


def plot(task: str, found: dict[str, Any], path: Path) -> None:
    """Draw learning curves, each seed thin and the mean bold, and how cards are sorted again."""
    from matplotlib.figure import Figure

    switches = task == "card-sorting"
    figure = Figure(figsize=(11 if switches else 6, 4), layout="constrained")
    axes = figure.subplots(1, 2 if switches else 1, squeeze=False)[0]
    for i, (name, runs) in enumerate(found["trained"].items()):
        curves = [run["curve"] for run in runs.values()]
        for points in curves:
            axes[0].plot(*zip(*points, strict=True), color=f"C{i}", alpha=0.25, linewidth=0.8)
        length = min(map(len, curves))
        middle = [mean(points[k][1] for points in curves) for k in range(length)]
        axes[0].plot([x for x, _ in curves[0][:length]], middle, color=f"C{i}", label=name)
    first = next(iter(TRANSFERS[task]))
    for i, (name, scores) in enumerate(found["scripted"].items()):
        axes[0].axhline(
            scores[first]["reward"], color="black", linestyle=("-", "--", ":")[i], label=name
        )
    axes[0].set(xlabel="environment steps", ylabel="reward in an episode, while training")
    axes[0].legend(fontsize="small")
    if switches:
        for i, (name, runs) in enumerate(found["trained"].items()):
            parts = [run["conditions"][first]["recovery"] for run in runs.values()]
            axes[1].plot(
                range(1, 6),
                [mean(p) for p in zip(*parts, strict=True)],
                color=f"C{i}",
                marker="o",
                label=name,
            )
        for i, (name, scores) in enumerate(found["scripted"].items()):
            axes[1].plot(
                range(1, 6),
                scores[first]["recovery"],
                color="black",
                linestyle=("-", "--", ":")[i],
                label=name,
            )
        axes[1].set(
            xlabel="trial after a switch of the rule",
            ylabel="probability of an error",
            xticks=range(1, 6),
        )
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    options = tyro.cli(Options)
    torch.set_num_threads(1)
    for task in options.tasks:
        recipe = read_toml(RECIPES / f"{task}.toml", Recipe)
        found: dict[str, Any] = {"trained": {}, "scripted": {}}
        for name, agent in SCRIPTED[task].items():
            found["scripted"][name] = {
                condition: measure(replace(recipe.environment, settings=settings), agent, options)
                for condition, settings in TRANSFERS[task].items()
            }
        for seed in options.seeds:
            for name, config in models(recipe).items():
                runs = found["trained"].setdefault(name, {})
                runs[str(seed)] = run(task, name, config, seed, options)
        (HERE / f"{task}.json").write_text(json.dumps(found, indent=1) + "\n")
        (HERE / f"{task}.md").write_text(table(task, found))
        plot(task, found, HERE / f"{task}.png")
        print(table(task, found))
