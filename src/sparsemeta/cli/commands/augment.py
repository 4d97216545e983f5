"""`sparsemeta augment MODEL --corpus.train TEXT... --out ADAPTER`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.lm import AugmentRecipe


@dataclass(frozen=True)
class Recipe(AugmentRecipe):
    """The recipe, whose model is named first."""

    model: tyro.conf.Positional[str]
    """A local folder of any causal language model of Hugging Face's transformers."""


@dataclass(frozen=True)
class Augment:
    """Train a memory for a causal language model of transformers, whose own weights stay.

    The adapter is for `--adapter` of the other commands, and for `load_adapter`. A run that was
    stopped, or killed, goes on when the same command is run again, bit for bit.
    """

    out: Path
    """Folder of the run: recipe.toml, log.jsonl, corpus/ and checkpoints/, each an adapter."""
    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    restart: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin anew, and delete the checkpoints of the run. Otherwise it goes on from the newest."""


def main(arguments: Sequence[str]) -> None:
    """Train, and print the folder of the adapter."""
    command = tyro.cli(Augment, args=list(arguments), prog="sparsemeta augment")

    from sparsemeta.lm import train_adapter
    from sparsemeta.run import Progress

    options = {"resume": not command.restart, "progress": Progress()}
    folder = train_adapter(command.recipe, command.out, **options)
    print(folder)
