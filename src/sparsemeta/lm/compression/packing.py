"""Packing and unpacking: a range coder is told what the model expects, and which token came.

It spends -log2 p bits on a token of probability p. A packed file that unpacks is a proof that the
probabilities summed to one, that each was made before its token was known, and in one pass.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from importlib import metadata
from typing import Any

import numpy as np
import torch

from sparsemeta.config import to_dict
from sparsemeta.errors import CompressionError, StateError, require, require_installed
from sparsemeta.fast_weights import FastWeights, fingerprint
from sparsemeta.lm.compression.packed import (
    NO_MEMORY,
    Header,
    Maker,
    require_same,
    short_digest,
    version,
)
from sparsemeta.lm.compression.spelling import Spelling
from sparsemeta.lm.compression.strands import Strands, arithmetic, places
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text import Tokenizer
from sparsemeta.run import Progress

LEAST = 256
"""Tokens of a strand: a shorter text has fewer strands."""

Coded = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Tokens (S,) int32 by their places (S,) in the text and the probabilities (S, V) of all tokens."""


@dataclass(frozen=True)
class Packed:
    """A packed file, and what it was made of."""

    file: bytes
    size: int  # of the original, in bytes
    tokens: int
    bits: float  # -log2 p of all tokens

    def __str__(self) -> str:
        each = 8 * len(self.file) / max(1, self.size)
        return f"{self.size:,} bytes to {len(self.file):,}, {each:.3f} bits per byte"


def compress(
    model: Any,
    tokenizer: Tokenizer,
    data: bytes,
    memory: FastWeights | None = None,
    *,
    strands: int = 16,
    progress: Progress | None = None,
) -> Packed:
    """Pack bytes.

    Args:
        model: one of ours, on a CPU.
        tokenizer: the model's own, which must lose nothing.
        data: any bytes; it is what the model was trained on that becomes small.
        memory: of one stream, to begin with; None is empty. It stays as it is.
        strands: at how many places of the text the model reads at once, 1 to 255. More are faster,
            and the file is a little larger.
        progress: where to show how it goes.

    Raises:
        ConfigError: model and tokenizer cannot do it.
    """
    require(1 <= strands <= 255, "strands must be 1 to 255")
    coder, family = _coder()
    spelling = Spelling(tokenizer)
    tokens = spelling.tokens(data)
    count = min(strands, max(1, len(tokens) // LEAST))
    maker = _maker(model, tokenizer, count, memory)
    encoder = coder.RangeEncoder()

    def encode(at: np.ndarray, p: np.ndarray) -> np.ndarray:
        encoder.encode(tokens[at], family, p)
        return tokens[at]

    places_of = Strands(model, tokenizer.separator, count, memory)
    bits = _read(places_of, len(tokens), encode, _Course(progress, spelling, len(data)))
    header = Header(maker, len(tokens), len(data), short_digest(data, 8))
    coded = encoder.get_compressed().astype("<u4").tobytes() if len(tokens) else b""
    return Packed(header.pack(coded), len(data), len(tokens), bits)


def decompress(
    model: Any,
    tokenizer: Tokenizer,
    file: bytes,
    memory: FastWeights | None = None,
    *,
    progress: Progress | None = None,
) -> bytes:
    """Unpack what `compress` made, with the same model and memory, on the same machine.

    Raises:
        CompressionError: the file is none, is damaged, or was made by another model, with another
            memory, versions or threads, or on a machine that rounds otherwise.
    """
    header, coded = Header.unpack(file)
    coder, family = _coder()
    maker = header.maker
    require_same(maker, _maker(model, tokenizer, maker.strands, memory))
    decoder = coder.RangeDecoder(np.frombuffer(coded, "<u4").astype(np.uint32))
    tokens, spelling = np.zeros(header.tokens, np.int32), Spelling(tokenizer)

    def decode(at: np.ndarray, p: np.ndarray) -> np.ndarray:
        tokens[at] = decoder.decode(family, p)
        return tokens[at]

    strands = Strands(model, tokenizer.separator, maker.strands, memory)
    try:
        _read(strands, len(tokens), decode, _Course(progress, spelling, header.size))
    except (AssertionError, ValueError):  # no token is where the coder looks
        data = b""
    else:
        data = spelling.spell(tokens)
    if len(data) != header.size or short_digest(data, 8) != header.digest:
        raise CompressionError(
            "what came out is not what went in: this machine computed other numbers than the one "
            "that made the file. Decompress it where it was made."
        )
    return data


class _Course:
    """How far it is, shown as it goes."""

    def __init__(self, progress: Progress | None, spelling: Spelling, size: int):
        self.progress, self._spelling, self.size = progress or Progress(quiet=True), spelling, size
        self._began, self._tokens, self._bytes = time.perf_counter(), 0, 0

    def show(self, came: np.ndarray, bits: float, left: int) -> None:
        """Show that tokens came, with the bits of all so far, and how many are left."""
        self._tokens += len(came)
        self._bytes += len(self._spelling.spell(came))
        speed = self._tokens / (time.perf_counter() - self._began)
        self.progress.show(
            self._bytes,
            f"{bits / max(1, self._bytes):.3f} bits per byte  {speed:,.0f} tokens/s  "
            f"{timedelta(seconds=round(left / speed))} left",
        )


def _read(strands: Strands, tokens: int, coded: Coded, course: _Course) -> float:
    """The one loop that packs and unpacks: read so many tokens as they are coded; their -log2 p."""
    bits, done = 0.0, 0
    with course.progress.track(0, course.size):
        for at in places(tokens, strands.count):
            p = strands.predict()[: len(at)]
            came = coded(at, p)
            strands.read(came)
            spent = np.log2(p[np.arange(len(at)), came].clip(min=2.0**-100), dtype=np.float64)
            bits, done = bits - float(spent.sum()), done + len(at)
            course.show(came, bits, tokens - done)
    return bits


def _maker(model: Any, tokenizer: Tokenizer, strands: int, memory: FastWeights | None) -> Maker:
    """Who packs or unpacks here."""
    require(
        isinstance(model, LanguageModel),
        "only models that `sparsemeta train` made can do this. Name the folder of a run.",
    )
    if memory is not None and memory.batch != 1:
        raise StateError(f"this memory is of {memory.batch} streams. Choose one of them.")
    which = f"{fingerprint(model)}{to_dict(model.config)}{tokenizer.fingerprint()}"
    probe = arithmetic(Strands(model, tokenizer.separator, strands, memory))
    return Maker(
        version(metadata.version("sparsemeta")),
        version(torch.__version__),
        min(torch.get_num_threads(), 255),
        strands,
        short_digest(which.encode()),
        NO_MEMORY if memory is None else _digest(memory),
        probe[:4],
    )


def _digest(memory: FastWeights) -> bytes:
    """Of all that a memory holds."""
    parts = (layer.stored().values() for _, layer in sorted(memory.layers.items()))
    tensors = (tensor.contiguous().cpu().numpy() for layer in parts for tensor in layer)
    return short_digest(b"".join(tensor.tobytes() for tensor in tensors))


def _coder() -> tuple[Any, Any]:
    """The coder that writes first what is read first, and its distributions."""
    require_installed("constriction", "compress")
    import constriction

    library: Any = constriction  # its parts are attributes, and no modules
    return library.stream.queue, library.stream.model.Categorical(perfect=False)
