"""`sparsemeta compress MODEL FILE`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from sparsemeta.cli.support.packing import Conversion, write_bytes


@dataclass(frozen=True)
class Compress(Conversion):
    """Pack a file by what a model expects of it, learning as it reads.

    Any file can be packed, and comes back bit for bit; texts like those that the model was trained
    on, or that repeat themselves, become small. To unpack it takes the same model and memory, on
    the same machine, with the same versions and number of threads, and as long again.
    """

    out: Path | None = None
    """The packed file. If left out: FILE.smz."""
    strands: int = 16
    """At how many places of the file the model reads at once, 1 to 255. More are faster, and the
    result is a little larger; short files have fewer."""


def main(arguments: Sequence[str]) -> None:
    """Load, read, pack, and write."""
    command = tyro.cli(Compress, args=list(arguments), prog="sparsemeta compress")
    data = command.read()
    out = command.out or command.file.with_name(command.file.name + ".smz")
    command.require_free(out)

    from sparsemeta.lm import compress, load, load_memory
    from sparsemeta.run import Progress

    model, tokenizer = load(command.model, "cpu")
    memory, _ = load_memory(command.memory, model)
    options = {"strands": command.strands, "progress": Progress()}
    packed = compress(model, tokenizer, data, memory, **options)
    write_bytes(out, packed.file)
    print(f"{out}: {packed}")
