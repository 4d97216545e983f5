"""Reading: a model goes through texts, scores each token before it is read, and remembers.

Every text begins with an empty attention window: the memory alone crosses from one to the next. So
a memory can be saved after a text and read on from later, with the same result.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.modelling import LanguageModel, LMState
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.run import Precision


@dataclass(frozen=True)
class Tally:
    """How much was read, how well it was predicted, and how long it took."""

    tokens: int = 0
    bytes: int = 0
    """In UTF-8."""
    nats: float = 0.0
    """-log p of it all."""
    seconds: float = 0.0

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers."""
        return self.nats / (math.log(2) * self.bytes) if self.bytes else math.nan

    @property
    def tokens_per_second(self) -> float:
        """Speed of the stream."""
        return self.tokens / self.seconds if self.seconds else math.nan

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.tokens + other.tokens,
            self.bytes + other.bytes,
            self.nats + other.nats,
            self.seconds + other.seconds,
        )


class Reader:
    """A model that reads text after text, with what it remembers of them.

    Args:
        model: on the device it shall run on.
        tokenizer: the model's own.
        memory: of one stream; None is empty.
        segment: tokens per forward pass (T); it changes speed, not scores.
        precision: of the forward pass; probabilities are float32 always.

    Attributes:
        memory: after the last text that was read to its end.
    """

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        memory: FastWeights | None = None,
        *,
        segment: int = 256,
        precision: Precision = "32-true",
    ):
        require(segment >= 1, "segment must be at least 1")
        self.memory = memory
        self._model, self._tokenizer = model, tokenizer
        self._segment = segment
        self._precision: Precision = precision

    def read(self, text: Document, seen: Callable[[Tally], None] = lambda _: None) -> Tally:
        """Read a text to its end; the memory is then that after it.

        Args:
            text: a separator is put before it, which is read but not scored.
            seen: told after each segment how far it has come (bytes in proportion to tokens). If it
                raises, the text counts as not read.
        """
        began = time.perf_counter()
        tokens = opened(self._tokenizer, text.text)
        count, size = len(tokens) - 1, len(text.text.encode("utf-8"))
        opening, nats, done = start(self._model, self.memory), 0.0, 0
        tally, state = Tally(), None
        with inference(self._model, self._precision):
            for logits, targets, after in segments(self._model, tokens, opening, self._segment):
                predicted, state = logits[: len(targets)], after
                nats += cross_entropy(predicted, targets, reduction="sum").item()
                done += len(targets)
                share = done / count if count else 1
                tally = Tally(done, round(size * share), nats, time.perf_counter() - began)
                seen(tally)
        assert state is not None  # a text has its separator at least
        self.memory = state.memory
        return tally


def require_memory(model: LanguageModel) -> None:
    """Refuse a model that cannot remember.

    Raises:
        ConfigError: it has no memory.
    """
    require(
        bool(model.config.memory_layers),
        "this model has no memory: there is nothing to keep of what it reads. "
        "Train one with model.memory_layers.",
    )


@contextmanager
def inference(model: LanguageModel, precision: Precision) -> Iterator[None]:
    """Run forward passes without gradients, in a precision."""
    kind = next(model.parameters()).device.type
    mixed = precision == "bf16-mixed"
    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=mixed):
        yield


def opened(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """The tokens of a text, int32 of shape (tokens + 1,), with the separator that opens it."""
    return np.concatenate([[tokenizer.separator], tokenizer.encode(text)], dtype=np.int32)


def start(model: LanguageModel, memory: FastWeights | None) -> LMState | None:
    """The state in which a text begins: a memory and an empty attention window.

    Raises:
        StateError: the memory is of several streams.
    """
    if memory is None or not memory.layers:
        return None
    if memory.batch != 1:
        raise StateError(
            f"this memory is of {memory.batch} streams, but a text is read in one. "
            "Choose one with FastWeights.select."
        )
    config, device = model.config, next(model.parameters()).device
    nothing = torch.zeros(1, config.heads, 0, config.width // config.heads, device=device)
    return LMState(memory.to(device), ((nothing, nothing),) * config.layers)


def segments(
    model: LanguageModel, tokens: np.ndarray, state: LMState | None, segment: int
) -> Iterator[tuple[Tensor, Tensor, LMState]]:
    """Read tokens segment by segment, the state carried.

    Args:
        model: the model.
        tokens: int32 of shape (tokens,).
        state: before the first of them; it stays as it is.
        segment: tokens per forward pass.

    Yields:
        float32 logits (T, vocab_size) after each token, the tokens that follow (T,), one fewer at
        the end of all, and the state after. Use a state before asking for the next.
    """
    device = next(model.parameters()).device
    for i in range(0, len(tokens), segment):
        came = torch.from_numpy(tokens[i : i + segment + 1]).to(device, torch.int64)
        logits, after = model(came[None, :segment], state, donate=i > 0)
        yield logits[0].float(), came[1:], after
        state = after


def read_on(
    model: LanguageModel, tokens: np.ndarray, state: LMState | None, segment: int = 256
) -> tuple[Tensor, LMState]:
    """Read tokens, at least one; return the float32 logits (vocab_size,) after them, and the state.

    Arguments as `segments`.
    """
    last = None
    for logits, _, after in segments(model, tokens, state, segment):
        last = logits[-1], after
    assert last is not None
    return last
