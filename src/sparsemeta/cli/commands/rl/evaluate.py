"""`sparsemeta rl evaluate MODEL`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from sparsemeta import rl, run
from sparsemeta.cli.support.agent import AgentCommand
from sparsemeta.cli.support.deliver import Delivery
from sparsemeta.config import Count


@dataclass(frozen=True)
class Evaluate(AgentCommand):
    """Let a trained agent play, its slow weights frozen, beside those who play best untrained.

    Each plays the same number of episodes. What is measured, and what curve tells how they adapt,
    is the environment's own: for card sorting errors, those that cling to the rule before, and
    categories, and errors by trial after a switch; for others the reward by step.
    """

    episodes: Count = 1024
    """Episodes that each player plays, as many of a task in a row as in training."""
    json: Path | None = None
    """Write all numbers to this file."""
    plot: Path | None = None
    """Draw the curve that tells how players adapt into this .png, .pdf or .svg file."""


def main(arguments: Sequence[str]) -> None:
    """Play, print, and write what was asked for."""
    command = tyro.cli(Evaluate, args=list(arguments), prog="sparsemeta rl evaluate")
    delivery = Delivery(command.json, command.plot, extra="rl")
    agent, place, recipe = command.load()
    found = rl.evaluate(
        agent,
        place,
        episodes=command.episodes,
        per_task=recipe.training.episodes,
        seed=command.seed,
        greedy=not command.sample,
        progress=run.Progress(),
    )
    about = {"model": str(command.model), "seed": command.seed, "sample": command.sample}
    delivery.deliver(
        rl.evaluation.table(found),
        rl.evaluation.summary(found),
        data=lambda: about | rl.evaluation.to_dict(found),
        draw=lambda path: rl.evaluation.plot(found, path),
    )
