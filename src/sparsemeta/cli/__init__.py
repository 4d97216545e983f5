"""The command line: one file for each command, loaded when it is called.

Nothing heavier than this file is imported before a command is known; torch is imported by the
command itself, after its arguments have been understood.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module

import sparsemeta
from sparsemeta.errors import SparseMetaError

COMMANDS = {
    "train": "train an adaptive language model by a recipe, or go on training it",
    "evaluate": "let a model read texts once, and measure how well it predicts them",
    "read": "let a model read texts, and keep what it learned from them in a memory",
    "generate": "let a model go on with a prompt, and with what its memory holds",
    "memory": "show, compare, merge and erase memories",
    "export": "write a model as a Hugging Face folder",
    "bench": "compare sparse with dense memories on streams that change",
    "rl": "train an agent that adapts within its life, measure it, and watch it",
}

HELP = f"""\
usage: sparsemeta COMMAND ... | --help | --version

Networks that keep learning while they run, by a forward pass alone.

commands:
{"".join(f"  {name:<10} {what}{chr(10)}" for name, what in COMMANDS.items())}
from a text of yours to a model that knows it:
  sparsemeta train recipes/demo.toml                       writes runs/demo
  sparsemeta evaluate runs/demo notes/                     what does adapting bring here?
  sparsemeta read runs/demo notes/ --out my.memory         read them, and remember
  sparsemeta read runs/demo more.txt --memory my.memory    go on; my.memory is brought up to date
  sparsemeta generate runs/demo --memory my.memory --prompt "As I wrote"
  sparsemeta memory show my.memory

`sparsemeta COMMAND --help` explains a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: what follows `sparsemeta`; `sys.argv` if None.

    Returns:
        The exit code: 0, or 2 for a mistake that has been explained, or 130 after Ctrl-C.
    """
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help"):
        print(HELP)
        return 0
    if command == "--version":
        print(f"sparsemeta {sparsemeta.__version__}")
        return 0
    if command not in COMMANDS:
        return _fail(f"unknown command {command!r}. The commands are {', '.join(COMMANDS)}.", 2)
    try:
        import_module(f"sparsemeta.cli.{command}").main(rest)
    except SparseMetaError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "Stopped.", 130)
    except BrokenPipeError:  # whoever read the output has gone; so must what is still buffered
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _fail(message: str, code: int) -> int:
    print(f"sparsemeta: {message}", file=sys.stderr)
    return code
