"""`sparsemeta train RECIPE.toml`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsemeta.cli.support.recipe import Training, parse
from sparsemeta.errors import SparseMetaError
from sparsemeta.lm import Recipe


@dataclass(frozen=True)
class Train(Training[Recipe]):
    """Train an adaptive language model by a recipe, or go on where the run was stopped.

    Every setting of the recipe can be overridden here; the defaults shown are the recipe's.
    """


def main(arguments: Sequence[str]) -> None:
    """Parse the recipe and its overrides, train, and print the folder of the model."""
    command = parse(Train, Recipe, arguments, "sparsemeta train")

    from sparsemeta.lm import train
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
