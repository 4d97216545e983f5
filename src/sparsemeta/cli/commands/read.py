"""`sparsemeta read MODEL TEXT...`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from sparsemeta.cli.support.deliver import claim
from sparsemeta.cli.support.texts import corpus_of, read_stdin
from sparsemeta.errors import ConfigError, require
from sparsemeta.lm import read_documents


@dataclass(frozen=True)
class Read:
    """Let a model read texts and keep what it learned from them.

    The memory is saved at the end, and after a text if a minute has passed: renamed into place, so
    that a kill leaves the file of before. Ctrl-C saves what was read to the last whole text. Each
    text begins with an empty attention window: texts may be read in one call or in several.
    """

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its best checkpoint."""
    texts: tyro.conf.Positional[tuple[str, ...]]
    """Files, folders, globs, .jsonl files, `stdlib`, `hf:OWNER/NAME[/CONFIG][:SPLIT]`, or `-` for
    standard input, read in this order."""
    adapter: Path | None = None
    """Memories for a model of transformers: the folder of a run of `sparsemeta augment`, or of an
    adapter."""
    memory: Path | None = None
    """The memory to begin with. If left out: an empty one."""
    out: Path | None = None
    """Where the memory is kept. If left out: --memory, which is brought up to date."""
    overwrite: bool = False
    """Replace a file at --out that is not --memory; otherwise that is an error."""
    segment: int = 256
    """How many tokens a forward pass reads; it changes speed, not scores."""
    precision: Literal["bf16-mixed", "32-true"] = "32-true"
    """The precision of the forward pass: bf16-mixed is autocast, 32-true is float32 throughout."""


def main(arguments: Sequence[str]) -> None:
    """Read the texts, show how it goes, and save the memory."""
    flags = (tyro.conf.FlagCreatePairsOff,)
    command = tyro.cli(Read, args=list(arguments), prog="sparsemeta read", config=flags)
    out = command.out or command.memory
    if out is None:
        raise ConfigError("name a file to keep the memory in: --out FILE.")
    require(bool(command.texts), "name texts to read: sparsemeta read MODEL TEXT... --out FILE")
    with claim(out, updates=command.memory, overwrite=command.overwrite):
        config = corpus_of(command.model)
        texts = []
        for source in command.texts:
            texts += [read_stdin()] if source == "-" else read_documents((source,), config)

        from sparsemeta.lm import Reader, load, load_memory, passages, remember, require_memory
        from sparsemeta.run import Progress

        model, tokenizer = load(command.model, adapter=command.adapter)
        require_memory(model)
        memory, origin = load_memory(command.memory, model)
        reader = Reader(model, memory, segment=command.segment, precision=command.precision)
        total = remember(reader, passages(tokenizer, texts), out, origin, progress=Progress())
    print(f"{out}: {len(texts)} {'text' if len(texts) == 1 else 'texts'} read, {total}")
