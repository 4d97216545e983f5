"""`sparsemeta rl COMMAND`: one file for each command, loaded when it is called."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from sparsemeta.config import require

COMMANDS = {
    "train": "train an agent by a recipe, or go on training it",
    "evaluate": "measure how well an agent plays, beside those who play best",
    "watch": "look on while an agent plays",
}

HELP = f"""\
usage: sparsemeta rl COMMAND ... | --help

An agent whose fast weights learn within its life, by trial and error.

commands:
{"".join(f"  {name:<10} {what}{chr(10)}" for name, what in COMMANDS.items())}
`sparsemeta rl COMMAND --help` explains a command."""


def main(arguments: Sequence[str]) -> None:
    """Run a command."""
    command, *rest = arguments or ["--help"]
    if command in ("-h", "--help"):
        print(HELP)
        return
    require(
        command in COMMANDS,
        f"rl has no command {command!r}. Its commands are {', '.join(COMMANDS)}.",
    )
    import_module(f"sparsemeta.cli.rl.{command}").main(rest)
