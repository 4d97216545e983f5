"""`sparsemeta read MODEL TEXT...`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from sparsemeta.cli.support.claim import claim
from sparsemeta.cli.support.texts import corpus_of
from sparsemeta.errors import ConfigError, CorpusError, require
from sparsemeta.lm.text.corpus import Document, read_documents

if TYPE_CHECKING:
    from sparsemeta.fast_weights import FastWeights, Origin
    from sparsemeta.lm.modelling import LanguageModel
    from sparsemeta.lm.reading import Reader, Tally
    from sparsemeta.lm.text.tokenizer import Tokenizer

SAVE_EVERY = 60.0
"""Seconds; a long reading is saved after the next text that ends."""


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
    memory: Path | None = None
    """The memory to begin with. If left out: an empty one."""
    out: Path | None = None
    """Where the memory is kept. If left out: --memory, which is brought up to date."""
    overwrite: bool = False
    """Replace a file at --out that is not --memory; otherwise that is an error."""
    segment: int = 256
    """Tokens per forward pass; it changes speed, not scores."""
    precision: Literal["bf16-mixed", "32-true"] = "32-true"
    """bf16-mixed: autocast; 32-true: float32 throughout."""


def main(arguments: Sequence[str]) -> None:
    """Read the texts, show how it goes, and save the memory."""
    command = tyro.cli(
        Read,
        args=list(arguments),
        prog="sparsemeta read",
        config=(tyro.conf.FlagCreatePairsOff,),
    )
    out = command.out or command.memory
    if out is None:
        raise ConfigError("name a file to keep the memory in: --out FILE.")
    require(bool(command.texts), "name texts to read: sparsemeta read MODEL TEXT... --out FILE")
    with claim(out, updates=command.memory, overwrite=command.overwrite):
        texts = texts_named(command)
        total = read(command, texts, out)
    print(f"{out}: {_count(len(texts))} read, {_described(total)}")


def read(command: Read, texts: list[Document], out: Path) -> Tally:
    """Read and save; what was read to its end is saved however this ends, but by a kill."""
    from sparsemeta.lm.reading import Reader, require_memory
    from sparsemeta.run import Interrupted, Progress, signals_deferred

    model, tokenizer, memory, origin = load(command.model, command.memory)
    require_memory(model)
    reader = Reader(model, tokenizer, memory, segment=command.segment, precision=command.precision)
    keeper = Keeper(reader, origin, out)
    progress = Progress()

    def seen(tally: Tally) -> None:
        if request.made:
            raise Interrupted(f"Stopped in {texts[keeper.done].name}.")
        now = keeper.total + tally
        progress.show(now.bytes, f"text {keeper.done + 1}/{len(texts)}  {_described(now)}")

    size = sum(len(text.text.encode("utf-8")) for text in texts)
    with signals_deferred() as request, progress.track(0, size):
        try:
            for text in texts:
                tally = keeper.read(text, seen)
                progress.message(f"{text.name}: {_described(tally)}")
        finally:
            keeper.save()
            if keeper.done < len(texts):
                kept = f"{out}: {_count(keeper.done)} read" if keeper.done else "nothing was saved"
                progress.message(f"{kept}; {texts[keeper.done].name} was not read to its end.")
    return keeper.total


class Keeper:
    """Saves what a reader learns, with how much it has read since its memory was empty."""

    def __init__(self, reader: Reader, origin: Origin, out: Path):
        from sparsemeta.lm.reading import Tally

        self._reader, self._origin, self._out = reader, origin, out
        self.total, self.done = Tally(), 0
        self._saved, self._saved_at = 0, time.monotonic()

    def read(self, text: Document, seen: Callable[[Tally], None]) -> Tally:
        """Read a text; save, if that was long ago."""
        tally = self._reader.read(text, seen)
        self.total, self.done = self.total + tally, self.done + 1
        if time.monotonic() - self._saved_at > SAVE_EVERY:
            self.save()
        return tally

    def save(self) -> None:
        """Save what was read to its end, if that is more than was saved."""
        if self._reader.memory and self.done > self._saved:
            texts, size = self._origin.texts + self.done, self._origin.bytes + self.total.bytes
            self._reader.memory.save(self._out, self._origin._replace(texts=texts, bytes=size))
            self._saved, self._saved_at = self.done, time.monotonic()


def load(
    path: Path, memory: Path | None
) -> tuple[LanguageModel, Tokenizer, FastWeights | None, Origin]:
    """A model on the best device, its tokenizer, a memory of it, and where that comes from."""
    import torch

    from sparsemeta.fast_weights import FastWeights, Origin, fingerprint, read_origin
    from sparsemeta.lm.checkpoint import load_model
    from sparsemeta.lm.reading import require_memory

    model, tokenizer = load_model(path)
    if memory is None:
        held, origin = None, Origin(fingerprint(model))
    else:
        require_memory(model)
        held, origin = FastWeights.load(memory, model), read_origin(memory)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return model.to(device), tokenizer, held, origin


def _described(tally: Tally) -> str:
    return (
        f"{tally.tokens:,} tokens, {tally.bits_per_byte:.3f} bits per byte, "
        f"{tally.tokens_per_second:,.0f} tokens/s"
    )


def _count(texts: int) -> str:
    return f"{texts} {'text' if texts == 1 else 'texts'}"


def texts_named(command: Read) -> list[Document]:
    """The texts, `-` among them."""
    config = corpus_of(command.model)
    texts = []
    for source in command.texts:
        texts += [read_stdin()] if source == "-" else read_documents((source,), config)
    return texts


def read_stdin() -> Document:
    """Standard input as a text.

    Raises:
        CorpusError: it is empty, or no UTF-8.
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"standard input: is not UTF-8 at byte {error.start}. Convert it with iconv."
        ) from None
    if not text.strip():
        raise CorpusError("standard input: is empty. Pipe a text into it, or name a file.")
    return Document("standard input", text)
