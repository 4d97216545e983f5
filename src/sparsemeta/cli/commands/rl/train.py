"""`sparsemeta rl train RECIPE.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.cli.support.recipe import parse
from sparsemeta.rl.config import Recipe


@dataclass(frozen=True)
class Train:
    """Train an agent by a recipe, or go on where the run was stopped.

    Every setting of the recipe can be overridden here; the defaults shown are the recipe's.
    """

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    run: Path | None = None
    """Folder of the run: recipe.toml, log.jsonl and checkpoints/. If left out: runs/rl/NAME. The
    other commands take it for its agent."""
    restart: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin anew, and delete the checkpoint of the run. Otherwise it goes on from there."""


def main(arguments: Sequence[str]) -> None:
    """Parse the recipe and its overrides, and train."""
    command = parse(Train, Recipe, arguments, "sparsemeta rl train")

    from sparsemeta.rl.training import train
    from sparsemeta.run import Progress

    run = command.run or Path("runs") / "rl" / command.recipe.name
    train(command.recipe, run, resume=not command.restart, progress=Progress())
    print(run)
