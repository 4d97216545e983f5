"""What commands that train begin with: a recipe, whose every setting is a flag as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro

from sparsemeta.config import read_toml
from sparsemeta.errors import require

C = TypeVar("C")


def parse(
    command: Callable[[Any], C], recipe: type[Any], arguments: Sequence[str], program: str
) -> C:
    """Read `RECIPE.toml [OPTIONS]`.

    Args:
        command: makes the command's settings from a recipe, the others as they are by default.
        recipe: what is in the file; without one, `--help` shows its defaults.
        arguments: of the command line.
        program: how the command is called.

    Returns:
        The command's settings.

    Raises:
        ConfigError: no file is named, or what is in it is wrong.
    """
    asked = [argument for argument in arguments[:1] if not argument.startswith("-")]
    default = command(read_toml(asked[0], recipe) if asked else recipe())
    usage = f"{program} RECIPE.toml"
    settings = tyro.cli(
        type(default), default=default, args=list(arguments[len(asked) :]), prog=usage
    )
    require(bool(asked), f"name the recipe first: {usage} [OPTIONS]")
    return settings
