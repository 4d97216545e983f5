"""`sparsemeta rl evaluate MODEL`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.cli.support.deliver import Delivery
from sparsemeta.cli.support.place import Place, load_agent
from sparsemeta.errors import require


@dataclass(frozen=True)
class Evaluate:
    """Let a trained agent play, its slow weights frozen, beside those who play best untrained.

    Each plays the same number of episodes. For card sorting it counts errors, those that cling to
    the rule before, and categories, and how soon after a switch each is right again.
    """

    model: tyro.conf.Positional[Path]
    """The folder of a run of `sparsemeta rl train`."""
    environment: Place = field(default_factory=Place)
    """Where to play, if not where it was trained."""
    episodes: int = 1024
    """Episodes that each plays; where training had several of a task in a row, so has this."""
    seed: int = 0
    """Of all chance."""
    sample: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The agent draws from its policy. Otherwise it takes the likeliest action."""
    json: Path | None = None
    """Write all numbers to this file."""
    plot: Path | None = None
    """Draw errors by trial after a switch or, elsewhere, reward by step: a .png, .pdf or .svg
    file."""


def main(arguments: Sequence[str]) -> None:
    """Play, print, and write what was asked for."""
    command = tyro.cli(Evaluate, args=list(arguments), prog="sparsemeta rl evaluate")
    require(command.episodes >= 1, f"--episodes {command.episodes} must be at least 1")

    from sparsemeta.rl import plots, report
    from sparsemeta.rl.evaluation import evaluate
    from sparsemeta.run import Progress

    delivery = Delivery(command.json, command.plot, extra="rl")
    agent, recipe = load_agent(command.model)
    found = evaluate(
        agent,
        command.environment.changed(recipe.environment),
        lives=-(-command.episodes // recipe.training.episodes),
        episodes=recipe.training.episodes,
        seed=command.seed,
        greedy=not command.sample,
        progress=Progress(),
    )
    about = {"model": str(command.model), "seed": command.seed, "sample": command.sample}
    delivery.deliver(
        report.table(found),
        report.summary(found),
        data=lambda: about | report.to_dict(found),
        draw=lambda path: plots.plot(found, path),
    )
