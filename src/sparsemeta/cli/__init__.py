"""The command line: one file for each command, loaded when it is called.

Nothing heavier than this file is imported before a command is known; torch is imported by the
command itself, after its arguments have been understood.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module

import sparsemeta
from sparsemeta.errors import ConfigError, SparseMetaError

COMMANDS = {
    "train": "train an adaptive language model by a recipe, or go on training it",
    "augment": "train a memory for a language model that you have already",
    "evaluate": "let a model read texts once, and measure how well it predicts them",
    "read": "let a model read texts, and keep what it learned from them in a memory",
    "generate": "let a model go on with a prompt, and with what its memory holds",
    "compress": "pack a file by a model that learns from it as it reads",
    "decompress": "unpack what compress made, bit for bit",
    "memory": "show, compare, merge and erase memories",
    "serve": "serve a model to many, each with a memory of its own",
    "export": "write a model as a Hugging Face folder",
    "bench": "compare sparse with dense memories on streams that change",
    "rl": {
        "train": "train an agent by a recipe, or go on training it",
        "evaluate": "measure how well an agent plays, beside those who play best",
        "watch": "look on while an agent plays",
    },
}
"""What each command does; a group of commands has a file for each of them."""

GROUPS = {
    "": (
        "Networks that keep learning while they run, by a forward pass alone.",
        """
from a text of yours to a model that knows it:
  sparsemeta train recipes/demo.toml                       writes runs/demo
  sparsemeta evaluate runs/demo notes/                     what does adapting bring here?
  sparsemeta read runs/demo notes/ --out my.memory         read them, and remember
  sparsemeta read runs/demo more.txt --memory my.memory    go on; my.memory is brought up to date
  sparsemeta generate runs/demo --memory my.memory --prompt "As I wrote"
  sparsemeta memory show my.memory
""",
    ),
    "rl": ("Train an agent that adapts within its life, measure it, and watch it.", ""),
}
"""What is said of each group, above and below its commands."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, by what follows `sparsemeta`, from `sys.argv` if None.

    The exit code is 0, or 2 for a mistake that has been explained, or 130 after Ctrl-C.
    """
    try:
        _dispatch((), COMMANDS, list(sys.argv[1:] if arguments is None else arguments))
    except SparseMetaError as error:
        return _fail(str(error), 2)
    except KeyboardInterrupt as stop:
        return _fail(str(stop) or "Stopped.", 130)
    except BrokenPipeError:  # whoever read the output has gone; so must what is still buffered
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def _dispatch(group: tuple[str, ...], commands: Mapping[str, object], words: list[str]) -> None:
    """Run the command that the first word names, in this group or one within it."""
    name, *rest = words or ["--help"]
    if name in ("-h", "--help"):
        print(_help(group, commands))
    elif name == "--version" and not group:
        print(f"sparsemeta {sparsemeta.__version__}")
    elif name not in commands:
        whose = f"`sparsemeta {' '.join(group)}` has no command" if group else "unknown command"
        raise ConfigError(f"{whose} {name!r}. The commands are {', '.join(commands)}.")
    elif isinstance(command := commands[name], Mapping):
        _dispatch((*group, name), command, rest)
    else:
        import_module(".".join((__name__, "commands", *group, name))).main(rest)


def _help(group: tuple[str, ...], commands: Mapping[str, object]) -> str:
    program, (about, examples) = " ".join(("sparsemeta", *group)), GROUPS[" ".join(group)]
    lines = [
        f"  {name:<10} {GROUPS[name][0] if isinstance(what, Mapping) else what}"
        for name, what in commands.items()
    ]
    version = "" if group else " | --version"
    head = [f"usage: {program} COMMAND ... | --help{version}", "", about, "", "commands:"]
    return "\n".join([*head, *lines, examples, f"`{program} COMMAND --help` explains a command."])


def _fail(message: str, code: int) -> int:
    print(f"sparsemeta: {message}", file=sys.stderr)
    return code
