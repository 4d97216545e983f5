"""Reading: a model goes through texts, scores each token before it is read, and remembers.

The one loop that every score comes from. Its context policy is the window: with "text" every text
begins with an empty attention window, so that the memory alone crosses from one to the next, and
can be saved between them; with "stream" attention crosses texts as the memory does.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.scores import Passage, Score, passages
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.run import Precision

Window = Literal["text", "stream"]


class Model(Protocol):
    """What reads: a `LanguageModel`, or one of the transformers library as `lm.load` wraps it."""

    longest: int | None
    """Most tokens that one call may read; None for any number."""

    @property
    def has_memory(self) -> bool:
        """Whether it remembers."""
        ...

    @property
    def context(self) -> str:
        """What it looks back on besides its memory, in words."""
        ...

    def read(
        self,
        tokens: Tensor,
        state: Any,
        *,
        targets: Tensor | None = None,
        steps: int = 0,
        empty: bool = False,
        donate: bool = False,
    ) -> tuple[Tensor, Tensor, Any]:
        """Read tokens (T,) int64 of one stream, from a state; None is the start of a stream.

        `empty` empties the memory, and nothing else, before the first; `donate` allows the state to
        be overwritten. Returns log p (T,) float32 of targets (T,) int64, the token after each; or,
        without targets, logits (steps, V) of the last steps, 0 being all: functions of tokens up to
        t alone. Then hidden states (T, D); and the state after, which has a method `detach`.
        """
        ...

    def begin(self, memory: FastWeights) -> Any:
        """The state in which a text begins that finds this memory: an empty attention window."""
        ...

    def nbytes(self, state: Any) -> int:
        """Size in bytes of what reading on needs of a state."""
        ...

    def parameters(self) -> Iterator[Any]:
        """As of any `nn.Module`."""
        ...


class Learner:
    """What adapts beside the model in one reading; as it stands, nothing does."""

    gradients: bool = False  # whether `learn` needs the graph of log p
    empties: bool = False  # whether the memory is emptied before each text
    segment: int | None = None  # tokens that it learns from at a time; None for any number
    nbytes: int = 0  # size of what it carries

    def mix(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """The log p (T,) that is scored, from that of the model, of the token after each step.

        Of the contexts hidden (T, D); the targets (T,) int64 are those tokens. Whatever they are,
        the p of all that could have followed a step must sum to one.
        """
        return log_p

    def learn(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> None:
        """Learn from a segment, once it has been scored; arguments as of `mix`, log p the model's.

        It has its graph where `gradients` asks for it.
        """


class Segment(NamedTuple):
    """What came of reading T tokens."""

    predicted: Tensor  # log p (T,) of the targets; or logits (steps, V), if these were asked for
    hidden: Tensor  # (T, D)
    targets: Tensor  # (T,), the tokens after each; at the end of all, T is one fewer
    state: Any  # after all that was read; to be used before the next segment is asked for


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
        own = min([one.segment for one in learners if one.segment] or [segment])
        self.segment = min(own, model.longest or own)
        self.precision: Precision = precision
        self.state: Any = start(model, memory)
        self._owned = False  # whether the state may be overwritten

    @property
    def memory(self) -> FastWeights | None:
        """What the model remembers after the last text that was read to its end."""
        return self.state.memory if self.state is not None and self.model.has_memory else None

    def read(self, text: Passage, seen: Callable[[np.ndarray], None] = lambda nats: None) -> Score:
        """Read a text to its end; its last token, context of what follows, predicts nothing.

        `seen` is told after each segment the nats of its tokens. If it raises, the text counts as
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

    def _score(self, part: Segment) -> np.ndarray:
        """The nats (T,) of a segment's tokens; only then is it learned from."""
        hidden, log_p = part.hidden.detach(), part.predicted.detach()
        for one in self.learners:
            log_p = one.mix(log_p, hidden, part.targets)
        nats = log_p.neg().cpu().numpy()
        for one in self.learners:
            one.learn(part.predicted, hidden, part.targets)
        return nats


def score(model: Model, tokenizer: Tokenizer, texts: Sequence[Document], **options: Any) -> Score:
    """Score texts, at least one, as one, the memory carried; options as of `Reader`."""
    options.setdefault("window", "stream")
    reader = Reader(model, **options)
    return Score.total([reader.read(text) for text in passages(tokenizer, texts)])


def segments(
    model: Model,
    tokens: Sequence[int] | np.ndarray,
    state: Any = None,
    *,
    steps: int | None = None,
    segment: int = 256,
    precision: Precision = "32-true",
    empty: bool = False,
    donate: bool = False,
) -> Iterator[Segment]:
    """Read tokens (tokens,) by segments, the state carried and, where there is a graph, cut off.

    With `steps` logits of so many of the last steps of each are predicted, 0 being all; without,
    log p of the targets. Segments are shorter where the model can read no more at once; `empty`
    empties the memory before the first, and `donate` allows the state to be overwritten.
    """
    device = next(model.parameters()).device
    mixed = torch.autocast(device.type, torch.bfloat16) if precision == "bf16-mixed" else None
    ids = torch.as_tensor(tokens, dtype=torch.int64, device=device)
    segment = min(segment, model.longest or segment)
    options: dict[str, Any] = {} if steps is None else {"steps": steps}
    for i in range(0, len(ids), segment):
        part, targets = ids[i : i + segment], ids[i + 1 : i + segment + 1]
        if steps is None:  # nothing follows the last token: what it predicts is left out below
            options["targets"] = pad(targets, (0, len(part) - len(targets)))
        options |= {"empty": empty and i == 0, "donate": donate or i > 0}
        with mixed or nullcontext():
            predicted, hidden, state = model.read(part, state, **options)
        if torch.is_grad_enabled():
            state = state.detach()
        if steps is None:
            predicted, hidden = predicted[: len(targets)], hidden[: len(targets)]
        yield Segment(predicted, hidden, targets, state)


@torch.inference_mode()
def read_on(
    model: Model, tokens: Sequence[int] | np.ndarray, state: Any = None, **options: Any
) -> tuple[Tensor, Any]:
    """The float32 logits (V,) after tokens, at least one, and the state; options of `segments`."""
    last = None
    for part in segments(model, tokens, state, steps=1, **options):
        last = part.predicted[-1].float(), part.state
    assert last is not None
    return last


def start(model: Model, memory: FastWeights | None) -> Any:
    """The state in which a text begins: a memory and an empty attention window."""
    if memory is None or not memory.layers:
        return None
    if memory.batch != 1:
        raise StateError(
            f"this memory is of {memory.batch} streams, but a text is read in one. "
            "Choose one with FastWeights.select."
        )
    return model.begin(memory)


def require_memory(model: Model) -> None:
    """Raise `ConfigError` for a model that cannot remember."""
    require(
        model.has_memory,
        "this model has no memory: there is nothing to keep of what it reads. "
        "Train one with model.memory_layers or model.output; or, of a model of transformers, "
        "name an --adapter, which `sparsemeta augment` trains.",
    )
