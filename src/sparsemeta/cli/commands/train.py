"""`sparsemeta train RECIPE.toml`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.cli.support.recipe import parse
from sparsemeta.errors import SparseMetaError
from sparsemeta.lm.config import Recipe


@dataclass(frozen=True)
class Train:
    """Train an adaptive language model by a recipe, or go on where the run was stopped.

    Every setting of the recipe can be overridden here; the defaults shown are the recipe's.
    """

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    run: Path | None = None
    """Folder of the run: recipe.toml, log.jsonl and checkpoints/. If left out: runs/NAME. Other
    commands take it for its best checkpoint, or its newest where there is no validation."""
    restart: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin anew, and delete the checkpoints of the run. Otherwise it goes on from the newest."""


def main(arguments: Sequence[str]) -> None:
    """Parse the recipe and its overrides, and train."""
    command = parse(Train, Recipe, arguments, "sparsemeta train")

    from sparsemeta.lm.training import train
    from sparsemeta.run import Interrupted, Progress, is_main

    run = command.run or Path("runs") / command.recipe.name
    try:
        folder = train(command.recipe, run, resume=not command.restart, progress=Progress())
    except (SparseMetaError, Interrupted):
        if is_main():
            raise
        return  # the main process says the same
    if is_main():
        print(folder)
