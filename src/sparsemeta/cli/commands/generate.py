"""`sparsemeta generate MODEL --prompt TEXT`."""

import itertools
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from sparsemeta.cli.support.deliver import claim
from sparsemeta.cli.support.texts import read_stdin
from sparsemeta.lm import Sampling


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
    adapter: Path | None = None
    """Memories for a model of transformers: the folder of a run of `sparsemeta augment`, or of an
    adapter."""
    memory: Path | None = None
    """What the model remembers at the start. If left out: nothing."""
    out: Path | None = None
    """Where the memory is kept afterwards. If left out: nowhere."""
    overwrite: bool = False
    """Replace a file at --out that is not --memory; otherwise that is an error."""
    sampling: tyro.conf.OmitArgPrefixes[Sampling] = field(default_factory=Sampling)


def main(arguments: Sequence[str]) -> None:
    """Write to standard output as the text is made, and save the memory if asked."""
    flags = (tyro.conf.FlagCreatePairsOff,)
    command = tyro.cli(Generate, args=list(arguments), prog="sparsemeta generate", config=flags)
    out = command.out
    kept = claim(out, updates=command.memory, overwrite=command.overwrite) if out else nullcontext()
    with kept:
        from sparsemeta.lm import Writer, load, load_memory, require_memory

        model, tokenizer = load(command.model, adapter=command.adapter)
        memory, origin = load_memory(command.memory, model)
        if out:
            require_memory(model)
        prompt = read_stdin().text if command.prompt == "-" else command.prompt
        writer, size = Writer(model, tokenizer, prompt, memory, command.sampling), 0
        for piece in itertools.chain([prompt], writer.pieces()):
            print(piece, end="", flush=True)
            size += len(piece.encode("utf-8"))
        print()
        if out:
            read = origin._replace(texts=origin.texts + 1, bytes=origin.bytes + size)
            writer.state.memory.save(out, read)
