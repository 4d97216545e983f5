"""Where a gain comes from: words by how often they came before, in the document and in training.

A word is what stands between white space, together with the white space before it, so that its
tokens are whole whatever the tokenizer, and the words' nats add up to the text's.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sparsemeta.lm.reading import Passage
from sparsemeta.lm.scores import Reading
from sparsemeta.lm.text import Document, Tokenizer

OCCURRENCES = ("0", "1", "2-3", "4-7", "8-15", "16+")
FREQUENCIES = ("0", "1-9", "10-99", "100-999", "1,000-9,999", "10,000+")


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a text, and which of them each token is a part of."""

    spellings: tuple[str, ...]
    of_token: np.ndarray
    """(tokens,) int64."""

    def nats(self, token_nats: np.ndarray) -> np.ndarray:
        """(words,), the nats of each word: those of its tokens together."""
        return np.bincount(self.of_token, token_nats[: len(self.of_token)], len(self.spellings))


@dataclass(frozen=True, eq=False)
class Gain:
    """Loss per word in classes of words."""

    by: str
    """What the classes are of."""
    classes: tuple[str, ...]
    words: np.ndarray
    """(classes,) int64, how many there were."""
    nats: dict[str, np.ndarray]
    """By label: (classes,) nats per word, NaN where there is no word."""


def words_of(
    tokenizer: Tokenizer, texts: Sequence[Document], read: Sequence[Passage]
) -> list[Words] | None:
    """The words of each text; None if the tokenizer joins or spells them as no word alone.

    Args:
        tokenizer: what the texts were tokenised with.
        texts: the texts.
        read: the same as they were read.
    """
    found = []
    for text, passage in zip(texts, read, strict=True):
        units = re.findall(r"\s*\S+(?:\s+\Z)?", text.text)
        parts = tokenizer.encode_all(units)
        if units and not np.array_equal(np.concatenate(parts), passage.tokens[1:]):
            return None
        of_token = np.repeat(np.arange(len(units)), [len(part) for part in parts])
        found.append(Words(tuple(unit.strip() for unit in units), of_token))
    return found


def gains(
    readings: Mapping[str, Reading],
    words: Sequence[Words],
    training: Iterable[Document] | None,
) -> list[Gain]:
    """Loss by earlier occurrences in the document and, where it is known, by training frequency.

    Args:
        readings: by label, of the same texts.
        words: of each text.
        training: the text that the model was trained on, or None.
    """
    earlier = [_earlier(text.spellings) for text in words]
    found = [_gain("earlier occurrences in the document", OCCURRENCES, earlier, readings, words)]
    if training is not None:
        counts = Counter(word for document in training for word in document.text.split())
        often = [_frequency(text.spellings, counts) for text in words]
        found.append(_gain("occurrences in training", FREQUENCIES, often, readings, words))
    return found


def _earlier(spellings: Sequence[str]) -> np.ndarray:
    """(words,), which of `OCCURRENCES` each falls in."""
    seen, found = Counter[str](), []
    for word in spellings:
        found.append(min(seen[word].bit_length(), len(OCCURRENCES) - 1))
        seen[word] += 1
    return np.array(found, np.int64)


def _frequency(spellings: Sequence[str], counts: Mapping[str, int]) -> np.ndarray:
    """(words,), which of `FREQUENCIES` each falls in."""
    digits = [len(str(counts[word])) if word in counts else 0 for word in spellings]
    return np.minimum(np.array(digits, np.int64), len(FREQUENCIES) - 1)


def _gain(
    by: str,
    classes: tuple[str, ...],
    of_word: Sequence[np.ndarray],
    readings: Mapping[str, Reading],
    words: Sequence[Words],
) -> Gain:
    place, size = np.concatenate(of_word), len(classes)
    count = np.bincount(place, minlength=size)
    nats = {}
    for label, reading in readings.items():
        pairs = zip(words, reading.texts, strict=True)
        total = np.concatenate([text.nats(score.token_nats) for text, score in pairs])
        sums = np.bincount(place, total, size)
        nats[label] = np.divide(sums, count, out=np.full(size, np.nan), where=count > 0)
    return Gain(by, classes, count, nats)
