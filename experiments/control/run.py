"""Agents that learn within their life, over several seeds.

    python experiments/control/run.py --tasks card-sorting reversal bandit two-step

trains every model on every seed by recipes/rl, lets each play with its weights frozen, and writes
TASK.json, TASK.md and TASK.png beside this file. Stopped, it goes on where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any, Literal

import torch
import tyro

from sparsemeta.config import read_toml
from sparsemeta.rl import ActorCritic, AgentConfig, Recipe, evaluate, make, train
from sparsemeta.run import Progress

HERE = Path(__file__).parent
RECIPES = HERE.parent.parent / "recipes" / "rl"

CONDITIONS: dict[str, dict[str, tuple[str, ...]]] = {
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
    "two-step": {
        "201 trials": (),
        "600 trials": ("trials=600",),
        "common .8": ("common=0.8",),
        "walk .05": ("walk=0.05",),
    },
}
"""What each task is asked about: as it was trained, and where nothing was trained."""
CURVES: dict[str, tuple[str, ...]] = {
    "card-sorting": tuple(f"error at trial {n}" for n in range(1, 6)),
    "two-step": ("stays: unpaid, rare", "unpaid, common", "paid, rare", "paid, common"),
}
"""What the points of a task's curve are, where they are tabulated."""
COUNTED = {"card-sorting": ("perseverative", "categories"), "two-step": ()}
"""What is counted beside them."""
EPISODES = {"card-sorting": 1024, "reversal": 1024, "bandit": 8192, "two-step": 1024}
"""That each player plays, in every condition: more where what may be earned differs more."""
SAMPLED = ("bandit",)
"""Where agents draw from their policy, which is how they explore; elsewhere they are greedy."""

Found = dict[str, dict[str, Any]]
"""What was found, by seed."""


@dataclass
class Options:
    """Agents that learn within their life, over several seeds."""

    tasks: tuple[Literal["card-sorting", "reversal", "bandit", "two-step"], ...] = (
        "card-sorting",
        "reversal",
        "bandit",
        "two-step",
    )
    """What is learned."""
    models: tuple[Literal["sparse", "dense", "gru", "lstm"], ...] = (
        "sparse",
        "dense",
        "gru",
        "lstm",
    )
    """What learns it."""
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Of weights and experience; every model is trained on each."""
    runs: Path = Path("runs/control")
    """Where the runs go."""


def models(recipe: Recipe) -> dict[str, AgentConfig]:
    """The sparse agent, and others of as many parameters."""
    sparse = recipe.agent
    found = {
        "sparse": sparse,
        "dense": replace(sparse, memory=replace(sparse.memory, addressing="dense", active=1)),
    }
    for core in ("gru", "lstm"):
        plain = AgentConfig(core=core, adaptive=False)
        widths = [replace(plain, width=width) for width in range(32, 160)]
        wanted = size(recipe, sparse)
        found[core] = min(widths, key=lambda agent: abs(size(recipe, agent) - wanted))
    return found


def size(recipe: Recipe, agent: AgentConfig) -> int:
    """How many parameters an agent has."""
    env = make(recipe.environment, 1)
    return sum(p.numel() for p in ActorCritic(env.width, env.actions, agent).parameters())


def run(task: str, name: str, recipe: Recipe, options: Options) -> dict[str, Any]:
    """Train and test one model on one seed, or take what was found before."""
    folder = options.runs / f"{task}-{name}-{recipe.training.seed}"
    scores = folder / "scores.json"
    if not scores.exists():
        began = time.process_time()
        agent = train(recipe, folder, progress=Progress()).eval()
        found: dict[str, Any] = {"cpu_seconds": round(time.process_time() - began)}
        found["parameters"] = size(recipe, recipe.agent)
        found["curve"] = curve(folder / "log.jsonl")
        before = [p.clone() for p in agent.parameters()]
        found["played"] = play(task, agent, recipe, alone=True)
        # What it adapts with is its state: the weights are those that training left.
        assert all(torch.equal(p, q) for p, q in zip(before, agent.parameters(), strict=True))
        scores.write_text(json.dumps(found) + "\n")
    return json.loads(scores.read_text())


def play(
    task: str, agent: ActorCritic, recipe: Recipe, *, alone: bool
) -> dict[str, dict[str, Any]]:
    """What every player, or the agent alone, does in every condition: by condition, by player."""
    found = {}
    for condition, settings in CONDITIONS[task].items():
        place = replace(recipe.environment, settings=settings)
        players = evaluate(
            agent, place, episodes=EPISODES[task], greedy=task not in SAMPLED, alone=alone
        ).players
        found[condition] = {
            name: {
                **{measure: round(value, 3) for measure, (value, _) in played.measures.items()},
                "curve": [round(value, 4) for value in played.curve[:5]],
            }
            for name, played in players.items()
        }
    return found


def curve(log: Path, points: int = 50) -> list[tuple[int, float]]:
    """Mean return by environment steps, thinned; where none is known yet, what was known before."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    known: Iterable[Any] = accumulate(
        (line["return"] for line in lines), lambda old, new: old if new is None else new
    )
    at = [(line["environment_steps"], earned) for line, earned in zip(lines, known, strict=True)]
    every = max(1, len(at) // points)
    return [(step, round(earned, 2)) for step, earned in at[every - 1 :: every]]


def table(task: str, trained: dict[str, Found], others: dict[str, Any]) -> str:
    """A row for each player: mean and standard deviation over the seeds."""
    what = "errors" if task == "card-sorting" else "reward"
    header = ["player", "seeds", "parameters", "CPU seconds", *CONDITIONS[task]]
    rows = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for name, runs in trained.items():
        cells = [
            spread([run["played"][c]["agent"][what] for run in runs.values()])
            for c in CONDITIONS[task]
        ]
        # The median: of a run that was stopped, only the seconds since are known.
        seconds = median(run["cpu_seconds"] for run in runs.values())
        parameters = next(iter(runs.values()))["parameters"]
        rows.append(
            f"| {name} | {len(runs)} | {parameters:,} | {seconds:.0f} | {' | '.join(cells)} |"
        )
    for name in next(iter(others.values())):
        cells = [f"{others[c][name][what]:.2f}" for c in CONDITIONS[task]]
        rows.append(f"| {name} | | | | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def adaptation(task: str, trained: dict[str, Found], others: dict[str, Any]) -> str:
    """How they adapt: the points of their curves, and what else is counted; means over seeds."""
    header = "player", *CURVES[task], *COUNTED[task]
    rows = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    first = next(iter(CONDITIONS[task]))
    players = {
        name: [run["played"][first]["agent"] for run in runs.values()]
        for name, runs in trained.items()
    }
    for name, played in (players | {k: [v] for k, v in others[first].items()}).items():
        found = zip(*(one["curve"] for one in played), strict=False)  # none where too few to tell
        points = [f"{mean(at):.3f}" for at in found] or [""] * len(CURVES[task])
        counted = [f"{mean(one[k] for one in played):.1f}" for k in COUNTED[task]]
        rows.append(f"| {' | '.join([name, *points, *counted])} |")
    return "\n".join(rows) + "\n"


def spread(values: list[float]) -> str:
    """Mean and standard deviation, which one value has none of."""
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def plot(task: str, trained: dict[str, Found], others: dict[str, Any], path: Path) -> None:
    """Draw learning curves, each seed thin and the mean bold, and how cards are sorted again."""
    from matplotlib.figure import Figure

    recovers, first = task == "card-sorting", next(iter(CONDITIONS[task]))
    figure = Figure(figsize=(11 if recovers else 6, 4.5), layout="constrained")
    learning, *after = figure.subplots(1, 2 if recovers else 1, squeeze=False)[0]
    for i, (name, runs) in enumerate(trained.items()):
        curves = [run["curve"] for run in runs.values()]
        for points in curves:
            learning.plot(*zip(*points, strict=True), color=f"C{i}", alpha=0.25, linewidth=0.8)
        steps = [step for step, _ in curves[0]]
        means = [mean(value for _, value in at) for at in zip(*curves, strict=True)]
        learning.plot(steps, means, color=f"C{i}", label=name)
        for axes in after:
            shown = [run["played"][first]["agent"]["curve"] for run in runs.values()]
            means = [mean(values) for values in zip(*shown, strict=False)]
            axes.plot(range(1, len(means) + 1), means, color=f"C{i}", marker="o", label=name)
    for i, (name, played) in enumerate(others[first].items()):
        if name != "uniform":
            style: dict[str, Any] = {"color": "black", "linestyle": ("-", "--", ":", "-.")[i]}
            learning.axhline(played["reward"], **style, label=name, linewidth=1)
            for axes in after:
                axes.plot(range(1, 6), played["curve"], **style, label=name, linewidth=1)
    learning.set(xlabel="environment steps", ylabel="reward in an episode, while training")
    learning.legend(fontsize="small")
    for axes in after:
        axes.set(xlabel="trial after a switch of the rule", ylabel="probability of an error")
        axes.set_xticks(range(1, 6))
    figure.savefig(path, dpi=120)


def main(options: Options) -> None:
    """Run what is missing, and write what was found."""
    torch.set_num_threads(1)
    for task in options.tasks:
        recipe = read_toml(RECIPES / f"{task}.toml", Recipe)
        agents, trained = models(recipe), dict[str, Found]()
        for seed in options.seeds:
            for name in options.models:
                training = replace(recipe.training, seed=seed)
                one = replace(recipe, agent=agents[name], training=training)
                trained.setdefault(name, {})[str(seed)] = run(task, name, one, options)
        env = make(recipe.environment, 1)
        anyone = ActorCritic(env.width, env.actions, recipe.agent)
        others = play(task, anyone, recipe, alone=False)
        for players in others.values():
            del players["agent"]
        text = json.dumps({"trained": trained, "others": others})
        (HERE / f"{task}.json").write_text(text + "\n")
        found = table(task, trained, others)
        if task in CURVES:
            found += "\n" + adaptation(task, trained, others)
        (HERE / f"{task}.md").write_text(found)
        plot(task, trained, others, HERE / f"{task}.png")
        print(found)


if __name__ == "__main__":
    main(tyro.cli(Options))
