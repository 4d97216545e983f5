"""`sparsemeta rl train RECIPE.toml`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsemeta.cli.support.recipe import Training, parse
from sparsemeta.rl.config import Recipe


@dataclass(frozen=True)
class Train(Training[Recipe]):
    """Train an agent by a recipe, or go on where the run was stopped.

    Every setting of the recipe can be overridden here; the defaults shown are the recipe's.
    """


def main(arguments: Sequence[str]) -> None:
    """Parse the recipe and its overrides, train, and print the folder of the run."""
    command = parse(Train, Recipe, arguments, "sparsemeta rl train")

    from sparsemeta.rl.training import train
    from sparsemeta.run import Progress

    run = command.run or Path("runs") / "rl" / command.recipe.name
    train(command.recipe, run, resume=not command.restart, progress=Progress())
    print(run)
