"""What commands that train have in common: a recipe, whose every setting is a flag as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar

import tyro

from sparsemeta.config import read_toml
from sparsemeta.errors import require

R = TypeVar("R")
C = TypeVar("C", bound="Training[Any]")


@dataclass(frozen=True)
class Training(Generic[R]):
    """A recipe, and where its run goes."""

    recipe: Annotated[R, tyro.conf.arg(name="")]
    run: Path | None = None
    """Folder of the run: recipe.toml, log.jsonl and checkpoints/. Other commands take it for the
    model that was trained. If left out, it is named after the recipe, in runs/ or runs/rl/."""
    restart: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Begin anew, and delete the checkpoints of the run. Otherwise it goes on from the newest."""


def parse(command: type[C], recipe: type[Any], arguments: Sequence[str], program: str) -> C:
    """Read `RECIPE.toml [OPTIONS]`; without a file, `--help` shows the defaults of `recipe`."""
    asked = [argument for argument in arguments[:1] if not argument.startswith("-")]
    default = command(read_toml(asked[0], recipe) if asked else recipe())
    usage = f"{program} RECIPE.toml"
    settings = tyro.cli(command, default=default, args=list(arguments[len(asked) :]), prog=usage)
    require(bool(asked), f"name the recipe first: {usage} [OPTIONS]")
    return settings
