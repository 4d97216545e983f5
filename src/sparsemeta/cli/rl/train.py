"""`sparsemeta rl train RECIPE.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.config import read_toml, require
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
    asked = [argument for argument in arguments[:1] if not argument.startswith("-")]
    recipe = read_toml(asked[0], Recipe) if asked else Recipe()
    command = tyro.cli(
        Train,
        default=Train(recipe),
        args=list(arguments[len(asked) :]),
        prog="sparsemeta rl train RECIPE.toml",
    )
    require(bool(asked), "name the recipe first: sparsemeta rl train RECIPE.toml [OPTIONS]")

    from sparsemeta.engine import Progress
    from sparsemeta.rl.training import train

    run = command.run or Path("runs") / "rl" / command.recipe.name
    train(command.recipe, run, resume=not command.restart, progress=Progress())
    print(run)
