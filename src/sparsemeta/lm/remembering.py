"""Reading to remember: what texts teach a model, kept in a memory file."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sparsemeta.fast_weights import Origin
from sparsemeta.lm.reading import Passage, Reader
from sparsemeta.lm.scores import Tally
from sparsemeta.run import Interrupted, Progress, signals_deferred

SAVE_EVERY = 60.0
"""Seconds; a long reading is saved after the next text that ends."""


def remember(
    reader: Reader,
    texts: Sequence[Passage],
    out: str | Path,
    origin: Origin,
    *,
    progress: Progress | None = None,
) -> Tally:
    """Let a model read texts, and keep its memory in a file, however this ends, but by a kill.

    Saved at the end, and after a text if a minute has passed. Ctrl-C saves what was read to the
    last whole text.

    Args:
        reader: the model, with the memory it begins with.
        texts: read in this order.
        out: the file.
        origin: what that memory has read already, as `load_memory` gives it.
        progress: where to show how it goes; nothing is shown without it.

    Returns:
        How much was read.

    Raises:
        Interrupted: Ctrl-C or SIGTERM.
        StateError: the memory is full, or cannot be written.
    """
    kept = _Kept(reader, origin, Path(out))
    progress = progress or Progress(quiet=True)

    def show(now: Tally) -> None:
        if request.made:
            raise Interrupted(f"Stopped in {texts[kept.texts].name}.")
        progress.show(now.bytes, f"text {kept.texts + 1}/{len(texts)}  {now}")

    with signals_deferred() as request, progress.track(0, sum(text.bytes for text in texts)):
        try:
            for text in texts:
                progress.message(f"{text.name}: {kept.read(text, show)}")
        finally:
            kept.save()
            if kept.texts < len(texts):
                some = f"{out}: {kept.texts} {'text' if kept.texts == 1 else 'texts'} read"
                read = some if kept.texts else "nothing was saved"
                progress.message(f"{read}; {texts[kept.texts].name} was not read to its end.")
    return kept.total


@dataclass
class _Kept:
    """What a reader has learned, and how much of it is saved."""

    reader: Reader
    origin: Origin
    out: Path
    total: Tally = field(default_factory=Tally)
    texts: int = 0
    saved: int = 0
    saved_at: float = field(default_factory=time.monotonic)

    def read(self, text: Passage, seen: Callable[[Tally], None]) -> Tally:
        """Read a text, saying how much has been read in all; save, if that was long ago."""
        began, tokens, nats = time.perf_counter(), 0, 0.0

        def count(found: np.ndarray) -> None:
            nonlocal tokens, nats
            tokens, nats = tokens + len(found), nats + float(found.sum(dtype=np.float64))
            size = round(text.bytes * tokens / (len(text.tokens) - 1))
            seen(self.total + Tally(tokens, size, nats, time.perf_counter() - began))

        tally = self.reader.read(text, count).tally
        self.total, self.texts = self.total + tally, self.texts + 1
        if time.monotonic() - self.saved_at > SAVE_EVERY:
            self.save()
        return tally

    def save(self) -> None:
        """Save what was read to its end, if that is more than was saved."""
        if self.reader.memory and self.texts > self.saved:
            texts, size = self.origin.texts + self.texts, self.origin.bytes + self.total.bytes
            self.reader.memory.save(self.out, self.origin._replace(texts=texts, bytes=size))
            self.saved, self.saved_at = self.texts, time.monotonic()
