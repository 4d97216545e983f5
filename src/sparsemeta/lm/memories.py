"""Models and memories from disk; memories kept while reading, shown, merged and erased."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, Origin, fingerprint, read_origin
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.insight import insight
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.reading import Reader, require_memory
from sparsemeta.lm.scores import Passage, Tally
from sparsemeta.lm.text import Tokenizer
from sparsemeta.run import Interrupted, Progress, signals_deferred

if TYPE_CHECKING:
    from sparsemeta.lm.hf.pretrained import PretrainedModel

SAVE_EVERY = 60.0
"""Seconds; a long reading is saved after the next text that ends."""


def load(
    path: str | Path,
    device: str | torch.device | None = None,
    *,
    adapter: str | Path | None = None,
) -> "tuple[LanguageModel | PretrainedModel, Tokenizer]":
    """A model and its tokenizer.

    Args:
        path: a model folder, or the folder of a run: then its best checkpoint; or a local folder of
            any causal language model of the transformers library. No code from it is run.
        device: where the model is put; cuda, if there is one, if None.
        adapter: memories for a model of transformers, as `sparsemeta augment` or `save_adapter`
            wrote them; or the folder of a run: then its newest checkpoint.
    """
    try:
        config = json.loads((Path(path) / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = None
    if isinstance(config, dict) and "model_type" in config:  # one of transformers, none of ours
        from sparsemeta.lm.hf.pretrained import load_pretrained

        model, tokenizer = load_pretrained(Path(path))
    else:
        model, tokenizer = load_model(path)
    if adapter is not None:
        from sparsemeta.lm.hf.augmented import with_adapter

        model = with_adapter(model, Path(adapter))
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu")), tokenizer


def load_memory(
    path: str | Path | None, model: "LanguageModel | PretrainedModel"
) -> tuple[FastWeights | None, Origin]:
    """A memory of a model, and where it comes from; None is an empty one."""
    if path is None:
        return None, Origin(fingerprint(keeper(model)))
    require_memory(model)
    return FastWeights.load(path, keeper(model)), read_origin(path)


def keeper(model: Any) -> nn.Module:
    """What a memory is saved for: a model, or of one that has an adapter, the adapter."""
    return getattr(model, "keeper", model)


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
        progress: where to show how it goes.

    Raises:
        Interrupted: Ctrl-C or SIGTERM.
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


def open_memories(*paths: Path) -> list[tuple[FastWeights, Origin]]:
    """Memories of one model, and where they come from."""
    found = [(FastWeights.load(path, None), read_origin(path)) for path in paths]
    for path, (_, origin) in zip(paths, found, strict=True):
        if origin.fingerprint != found[0][1].fingerprint:
            raise StateError(
                f"{path} belongs to another model than {paths[0]}, so what they hold cannot be "
                "compared. Name two memories of one model."
            )
    return found


def describe(path: Path, model: tuple[Any, Tokenizer] | None = None) -> dict[str, Any]:
    """All that a file says, for JSON.

    With a model, `fits` is whether the memory belongs to it, and then `learned` what `insight` says
    of it.
    """
    ((memory, origin),) = open_memories(path)
    layers = {
        name: stats | {"bytes": sum(part.nbytes for part in memory.layers[name].stored().values())}
        for name, stats in memory.stats().items()
    }
    fits = origin.fingerprint == fingerprint(keeper(model[0])) if model else None
    learned = insight(memory, *model) if model and fits else {}
    about = {"file": str(path), "size": path.stat().st_size, "model": origin.fingerprint}
    read = {"streams": memory.batch, "texts": origin.texts, "bytes": origin.bytes}
    return {**about, "fits": fits, **read, "layers": layers, "learned": learned}


def merged(one: Path, other: Path, base: Path | None = None) -> tuple[FastWeights, Origin]:
    """What two memories learned since they parted from `base`, and all that this has read."""
    (a, a_read), (b, b_read), *rest = open_memories(one, other, *([base] if base else []))
    began, begun = rest[0] if rest else (None, a_read._replace(texts=0, bytes=0))
    texts = a_read.texts + b_read.texts - begun.texts
    size = a_read.bytes + b_read.bytes - begun.bytes
    return a.merge(b, began), begun._replace(texts=texts, bytes=size)


def erased(path: Path, layers: tuple[str, ...] | None = None) -> tuple[FastWeights, Origin]:
    """A memory without what some of its layers hold, or all; an empty one has read nothing."""
    ((memory, origin),) = open_memories(path)
    left = memory.reset(layers=layers)
    empty = not any(layer["rows"] for layer in left.stats().values())
    return left, origin._replace(texts=0, bytes=0) if empty else origin
