"""`sparsemeta generate MODEL --prompt TEXT`."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from sparsemeta.cli.commands.read import load, read_stdin
from sparsemeta.cli.support.claim import claim
from sparsemeta.lm.sampling import Sampling

if TYPE_CHECKING:
    from sparsemeta.fast_weights import FastWeights, Origin


@dataclass(frozen=True)
class Generate:
    """Let a model go on with a prompt, and print both as the text is made.

    It learns from the prompt and from what it writes, as it does from all that it reads; that is
    forgotten at the end unless --out is given.
    """

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its best checkpoint."""
    prompt: str = ""
    """What to go on with; `-` takes it from standard input. If left out: the start of a text."""
    memory: Path | None = None
    """What the model remembers at the start. If left out: nothing."""
    out: Path | None = None
    """Where the memory is kept afterwards. If left out: nowhere."""
    overwrite: bool = False
    """Replace a file at --out that is not --memory; otherwise that is an error."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)


def main(arguments: Sequence[str]) -> None:
    """Write to standard output as the text is made, and save the memory if asked."""
    command = tyro.cli(
        Generate,
        args=list(arguments),
        prog="sparsemeta generate",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    if command.out is None:
        write(command)
        return
    with claim(command.out, updates=command.memory, overwrite=command.overwrite):
        origin, memory = write(command)
        memory.save(command.out, origin)


def write(command: Generate) -> tuple[Origin, FastWeights]:
    """Print the prompt and what follows; return what the model then remembers, and of what."""
    from sparsemeta.lm.generation import Writer
    from sparsemeta.lm.reading import require_memory

    model, tokenizer, memory, origin = load(command.model, command.memory)
    if command.out:
        require_memory(model)
    prompt = read_stdin().text if command.prompt == "-" else command.prompt
    writer = Writer(model, tokenizer, prompt, memory, command.sampling)
    size = 0
    for piece in itertools.chain([prompt], writer.pieces()):
        print(piece, end="", flush=True)
        size += len(piece.encode("utf-8"))
    print()
    origin = origin._replace(texts=origin.texts + 1, bytes=origin.bytes + size)
    return origin, writer.state.memory
