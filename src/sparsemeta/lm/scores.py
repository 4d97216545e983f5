"""A text as it is read, and what reading it measures: how well it was predicted, at what cost."""

import math
import operator
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Self

import numpy as np

from sparsemeta.lm.text import Document, Tokenizer

FIELDS = (
    *("name", "nats", "tokens", "words", "words_eos", "bytes", "bits_per_byte", "perplexity"),
    *("word_perplexity", "seconds", "tokens_per_second", "state_bytes"),
)


@dataclass(frozen=True, eq=False)
class Passage:
    """A text as it is read: its tokens after the separator that opens it, and its size."""

    name: str
    tokens: np.ndarray  # (tokens + 1,) int32
    words: int = 0
    words_eos: int = 0
    bytes: int = 0


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


@dataclass(frozen=True)
class Tally:
    """How much was read, how well it was predicted, and how long it took."""

    tokens: int = 0
    bytes: int = 0  # in UTF-8
    nats: float = 0.0  # -log p of it all
    seconds: float = 0.0

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers."""
        return self.nats / (math.log(2) * self.bytes) if self.bytes else math.nan

    @property
    def tokens_per_second(self) -> float:
        """Speed of one stream."""
        return self.tokens / self.seconds if self.seconds else math.nan

    def __add__(self, other: Self) -> Self:
        return type(self)(*map(operator.add, astuple(self), astuple(other)))

    def __str__(self) -> str:
        return (
            f"{self.tokens:,} tokens, {self.bits_per_byte:.3f} bits per byte, "
            f"{self.tokens_per_second:,.0f} tokens/s"
        )


@dataclass(frozen=True, eq=False)
class Score:
    """How well a text was predicted, and at what cost."""

    name: str
    token_nats: np.ndarray  # (tokens,) float32, -log p of each token, in the order read
    words: int  # separated by white space
    words_eos: int  # and one end for each line
    bytes: int  # of the text in UTF-8
    seconds: float
    state_bytes: int
    """Size of all that is carried after the last token: attention window, memory that is on, cache,
    and weights that have changed."""

    @classmethod
    def total(cls, scores: Sequence[Self]) -> Self:
        """All texts, at least one, as one."""
        nats = np.concatenate([score.token_nats for score in scores])
        words, words_eos = sum(s.words for s in scores), sum(s.words_eos for s in scores)
        size, seconds = sum(s.bytes for s in scores), sum(s.seconds for s in scores)
        return cls("total", nats, words, words_eos, size, seconds, scores[-1].state_bytes)

    @property
    def tokens(self) -> int:
        """Tokens of the text, each scored once; separators are not among them."""
        return len(self.token_nats)

    @property
    def nats(self) -> float:
        """-log p of the whole text."""
        return float(self.token_nats.sum(dtype=np.float64))

    @property
    def tally(self) -> Tally:
        """What can be added up over any number of texts."""
        return Tally(self.tokens, self.bytes, self.nats, self.seconds)

    @property
    def bits_per_byte(self) -> float:
        """Comparable across tokenizers."""
        return self.tally.bits_per_byte

    @property
    def tokens_per_second(self) -> float:
        """Speed of one stream."""
        return self.tally.tokens_per_second

    @property
    def perplexity(self) -> float:
        """Per token of the model's tokenizer."""
        return _perplexity(self.nats, self.tokens)

    @property
    def word_perplexity(self) -> float:
        """Per word and end of line, as the word-level literature counts."""
        return _perplexity(self.nats, self.words_eos)

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON: None stands for one that is not finite."""
        return {name: finite(getattr(self, name)) for name in FIELDS}


@dataclass(frozen=True, eq=False)
class Reading:
    """One pass of one arm over all texts."""

    arm: str  # its name, see `evaluation.Arm`
    policy: str  # what the predictions could draw on, in words
    texts: tuple[Score, ...]
    settings: dict[str, Any] = field(default_factory=dict)  # of its adaptations, plain

    @property
    def total(self) -> Score:
        """All texts as one."""
        return Score.total(self.texts)


def finite(value: Any) -> Any:
    """The value itself, or None for a number that JSON cannot hold."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _perplexity(nats: float, count: int) -> float:
    mean = nats / count if count else math.nan
    return math.exp(mean) if mean < 700 else mean * math.inf  # also keeps a NaN
