"""`sparsemeta rl evaluate MODEL`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.cli.support.deliver import Delivery
from sparsemeta.cli.support.elsewhere import Elsewhere
from sparsemeta.config import Count, Settings


@dataclass(frozen=True)
class Evaluate(Settings):
    """Let a trained agent play, its slow weights frozen, beside those who play best untrained.

    Each plays the same number of episodes. What is measured depends on the environment: for card
    sorting errors, those that cling to the rule before, and categories, and how soon after a switch
    each is right again.
    """

    model: tyro.conf.Positional[Path]
    """The folder of a run of `sparsemeta rl train`."""
    environment: Elsewhere = field(default_factory=Elsewhere)
    """Where to play, if not where the agent was trained."""
    episodes: Count = 1024
    """Episodes that each player plays; where training had several of a task in a row, so has
    this."""
    seed: int = 0
    """The seed of everything that is left to chance."""
    sample: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let the agent draw from its policy. Otherwise it takes the likeliest action."""
    json: Path | None = None
    """Write all numbers to this file."""
    plot: Path | None = None
    """Draw the curve that tells how players adapt, such as errors by trial after a switch or reward
    by step: a .png, .pdf or .svg file."""


def main(arguments: Sequence[str]) -> None:
    """Play, print, and write what was asked for."""
    command = tyro.cli(Evaluate, args=list(arguments), prog="sparsemeta rl evaluate")

    from sparsemeta import rl
    from sparsemeta.run import Progress

    delivery = Delivery(command.json, command.plot, extra="rl")
    agent, recipe = rl.load(command.model)
    found = rl.evaluate(
        rl.to_best_device(agent),
        rl.elsewhere(recipe.environment, command.environment.id, command.environment.settings),
        episodes=command.episodes,
        per_task=recipe.training.episodes,
        seed=command.seed,
        greedy=not command.sample,
        progress=Progress(),
    )
    about = {"model": str(command.model), "seed": command.seed, "sample": command.sample}
    delivery.deliver(
        rl.report.table(found),
        rl.report.summary(found),
        data=lambda: about | rl.report.to_dict(found),
        draw=lambda path: rl.plots.plot(found, path),
    )
