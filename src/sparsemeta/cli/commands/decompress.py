"""`sparsemeta decompress MODEL FILE`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from sparsemeta.cli.support.packing import Conversion, write_bytes
from sparsemeta.errors import CompressionError, require


@dataclass(frozen=True)
class Decompress(Conversion):
    """Unpack what `sparsemeta compress` made, bit for bit, or refuse and write nothing."""

    out: Path | None = None
    """The unpacked file. If left out: FILE without its .smz."""


def main(arguments: Sequence[str]) -> None:
    """Load, check, unpack, and write."""
    command = tyro.cli(Decompress, args=list(arguments), prog="sparsemeta decompress")
    data, named = command.read(), command.file.suffix == ".smz"
    require(command.out is not None or named, f"{command.file}: name a file to write: --out FILE.")
    out = command.out or command.file.with_suffix("")
    command.require_free(out)

    from sparsemeta.lm import decompress, load, load_memory
    from sparsemeta.run import Progress

    model, tokenizer = load(command.model, "cpu")
    memory, _ = load_memory(command.memory, model)
    try:
        unpacked = decompress(model, tokenizer, data, memory, progress=Progress())
    except CompressionError as error:
        raise CompressionError(f"{command.file}: {error}") from None
    write_bytes(out, unpacked)
    print(f"{out}: {len(unpacked):,} bytes")
