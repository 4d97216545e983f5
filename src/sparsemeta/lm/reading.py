"""Reading: a model goes through texts, scores each token before it is read, and remembers.

The one loop that every score comes from. Its context policy is the window: with "text" every text
begins with an empty attention window, so that the memory alone crosses from one to the next, and
can be saved between them; with "stream" attention crosses texts as the memory does.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.protocols import Learner, Model
from sparsemeta.lm.scores import Score
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.run import Precision

Window = Literal["text", "stream"]


@dataclass(frozen=True, eq=False)
class Passage:
    """A text as it is read: its tokens after the separator that opens it, and its size."""

    name: str
    tokens: np.ndarray
    """(tokens + 1,) int32."""
    words: int = 0
    words_eos: int = 0
    bytes: int = 0


class Segment(NamedTuple):
    """What came of reading T tokens."""

    logits: Tensor  # (T, V)
    hidden: Tensor  # (T, D)
    targets: Tensor  # (T,), the observed tokens; one fewer at the end of all
    state: Any  # after them; to be used before the next segment is asked for


class Reader:
    """A model that reads text after text, with what it remembers of them.

    Args:
        model: on the device it shall run on.
        memory: of one stream; None is empty. It stays as it is.
        window: whether attention begins anew with each `text`, or goes on through the `stream`.
        learners: what adapts beside it.
        segment: tokens per forward pass (T); it changes speed, not scores.
        precision: of the forward pass; probabilities are float32 always.

    Attributes:
        state: after the last text that was read to its end.

    Raises:
        StateError: the memory is of several streams.
    """

    def __init__(
        self,
        model: Model,
        memory: FastWeights | None = None,
        *,
        window: Window = "text",
        learners: Sequence[Learner] = (),
        segment: int = 256,
        precision: Precision = "32-true",
    ):
        require(segment >= 1, "segment must be at least 1")
        self.model, self.window, self.learners = model, window, learners
        own = [one.segment for one in learners if one.segment]
        self.segment = _at_once(model, min(own or [segment]))
        self.precision: Precision = precision
        self.state: Any = start(model, memory)
        self._owned = False  # whether the state may be overwritten

    @property
    def memory(self) -> FastWeights | None:
        """What the model remembers after the last text that was read to its end."""
        return self.state.memory if self.state is not None and self.model.has_memory else None

    def read(self, text: Passage, seen: Callable[[np.ndarray], None] = lambda nats: None) -> Score:
        """Read a text to its end.

        Args:
            text: its last token is read, as context of what follows, but predicts nothing.
            seen: told after each segment the nats of its tokens. If it raises, the text counts as
                not read, where every text has a window of its own.
        """
        began, found = time.perf_counter(), [np.zeros(0, np.float32)]
        stream = self.window == "stream"
        state = self.state if stream else start(self.model, self.memory)
        gradients = any(one.gradients for one in self.learners)
        with torch.enable_grad() if gradients else torch.inference_mode():
            for part in segments(
                self.model,
                text.tokens,
                state,
                segment=self.segment,
                precision=self.precision,
                empty=any(one.empties for one in self.learners),
                donate=stream and self._owned,
            ):
                state = part.state
                if len(part.targets):
                    found.append(self._score(part))
                    seen(found[-1])
        self.state, self._owned = state, True
        size = self.model.nbytes(state) + sum(one.nbytes for one in self.learners)
        seconds = time.perf_counter() - began
        nats = np.concatenate(found)
        return Score(text.name, nats, text.words, text.words_eos, text.bytes, seconds, size)

    def warm_up(self, text: Passage) -> None:
        """Do once, at no text's cost, what a first call has to set up."""
        with torch.no_grad():
            next(segments(self.model, text.tokens[:1]))

    def _score(self, part: Segment) -> np.ndarray:
        """The nats (T,) of a segment's tokens; only then is it learned from."""
        logits, hidden = (x[: len(part.targets)] for x in (part.logits, part.hidden))
        hidden, log_p = hidden.detach(), logits.detach().float().log_softmax(-1)
        for one in self.learners:
            log_p = one.mix(log_p, hidden, part.targets)
        nats = nll_loss(log_p, part.targets, reduction="none").cpu().numpy()
        for one in self.learners:
            one.learn(logits, hidden, part.targets)
        return nats


def passages(tokenizer: Tokenizer, texts: Sequence[Document]) -> list[Passage]:
    """Texts as they are read; made once, for any number of readings."""
    found = []
    for text, tokens in zip(texts, tokenizer.encode_all([t.text for t in texts]), strict=True):
        words = len(text.text.split())
        lines = text.text.count("\n") + bool(text.text.rpartition("\n")[2])
        size = len(text.text.encode("utf-8"))
        found.append(Passage(text.name, opened(tokenizer, tokens), words, words + lines, size))
    return found


def opened(tokenizer: Tokenizer, tokens: Sequence[int] | np.ndarray) -> np.ndarray:
    """Tokens, int32 of shape (tokens + 1,), with the separator that opens a text."""
    return np.concatenate([[tokenizer.separator], tokens], dtype=np.int32)


def score(
    model: Model,
    tokenizer: Tokenizer,
    texts: Sequence[Document],
    *,
    window: Window = "stream",
    segment: int = 256,
    precision: Precision = "32-true",
) -> Score:
    """Let a model read texts, at least one, with its memory carried, and score them as one.

    Arguments as of `Reader` and `passages`.
    """
    reader = Reader(model, window=window, segment=segment, precision=precision)
    return Score.total([reader.read(text) for text in passages(tokenizer, texts)])


def segments(
    model: Model,
    tokens: Sequence[int] | np.ndarray,
    state: Any = None,
    *,
    segment: int = 256,
    precision: Precision = "32-true",
    empty: bool = False,
    donate: bool = False,
) -> Iterator[Segment]:
    """Read tokens segment by segment, the state carried and, where there is a graph, cut off.

    Args:
        model: what reads.
        tokens: (tokens,).
        state: before the first of them.
        segment: tokens per forward pass (T); fewer where the model can read no more at once.
        precision: of the forward pass.
        empty: empty the memory before the first of them.
        donate: allow the state to be overwritten.
    """
    device = device_of(model)
    mixed = torch.autocast(device.type, torch.bfloat16) if precision == "bf16-mixed" else None
    ids = torch.as_tensor(tokens, dtype=torch.int64, device=device)
    segment = _at_once(model, segment)
    for i in range(0, len(ids), segment):
        with mixed or nullcontext():
            logits, hidden, state = model.read(
                ids[i : i + segment], state, empty=empty and i == 0, donate=donate or i > 0
            )
        if torch.is_grad_enabled():
            state = state.detach()
        yield Segment(logits, hidden, ids[i + 1 : i + segment + 1], state)


@torch.inference_mode()
def read_on(
    model: Model, tokens: Sequence[int] | np.ndarray, state: Any = None, **options: Any
) -> tuple[Tensor, Any]:
    """Read tokens, at least one; return the float32 logits (V,) after them, and the state.

    Arguments as of `segments`.
    """
    last = None
    for part in segments(model, tokens, state, **options):
        last = part.logits[-1].float(), part.state
    assert last is not None
    return last


def start(model: Model, memory: FastWeights | None) -> Any:
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
    return model.begin(memory)


def require_memory(model: Model) -> None:
    """Refuse a model that cannot remember.

    Raises:
        ConfigError: it has no memory.
    """
    require(
        model.has_memory,
        "this model has no memory: there is nothing to keep of what it reads. "
        "Train one with model.memory_layers.",
    )


def device_of(model: Model) -> torch.device:
    """Where a model's weights are."""
    return next(model.parameters()).device


def _at_once(model: Model, segment: int) -> int:
    """How many tokens a model reads at once, if it is to be that many."""
    return min(segment, model.longest or segment)
