"""`sparsemeta rl train RECIPE.toml`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sparsemeta import rl, run
from sparsemeta.cli.support.recipe import Training, parse


@dataclass(frozen=True)
class Train(Training[rl.Recipe]):
    """Train an agent by a recipe, or go on where the run was stopped.

    Every setting of the recipe can be overridden here; the defaults shown are the recipe's.
    """


def main(arguments: Sequence[str]) -> None:
    """Parse the recipe and its overrides, train, and print the folder of the run."""
    command = parse(Train, rl.Recipe, arguments, "sparsemeta rl train")
    folder = command.run or Path("runs") / "rl" / command.recipe.name
    rl.train(command.recipe, folder, resume=not command.restart, progress=run.Progress())
    print(folder)
