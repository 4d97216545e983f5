"""Where a gain comes from: loss by position in the text, and by how often a word came before.

A word is what stands between white space, together with the white space before it, so that its
tokens are whole whatever the tokenizer, and the words' nats add up to the text's.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsemeta.lm.evaluation.arms import all_arms
from sparsemeta.lm.scores import Passage, Reading, Score, finite
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.plotting import drawn

OCCURRENCES = ("0", "1", "2-3", "4-7", "8-15", "16+")
FREQUENCIES = ("0", "1-9", "10-99", "100-999", "1,000-9,999", "10,000+")

_TABLEAU = ("gray", "blue", "red", "green", "purple", "brown", "pink", "orange", "cyan", "olive")
_COLORS = dict(zip(all_arms(True), itertools.cycle(_TABLEAU), strict=False))


@dataclass(frozen=True, eq=False)
class Words:
    """The words of a text, and which of them each token is a part of."""

    spellings: tuple[str, ...]
    of_token: np.ndarray  # (tokens,) int64

    def nats(self, token_nats: np.ndarray) -> np.ndarray:
        """(words,), the nats of each word: those of its tokens together."""
        return np.bincount(self.of_token, token_nats[: len(self.of_token)], len(self.spellings))


@dataclass(frozen=True, eq=False)
class Gain:
    """Loss per word in classes of words."""

    by: str  # what the classes are of
    classes: tuple[str, ...]
    words: np.ndarray  # (classes,) int64, how many there were
    nats: dict[str, np.ndarray]  # by label: (classes,) per word, NaN where there is no word

    @classmethod
    def of(
        cls,
        by: str,
        classes: tuple[str, ...],
        of_word: Sequence[np.ndarray],
        readings: Mapping[str, Reading],
        words: Sequence[Words],
    ) -> "Gain":
        """Loss in these classes, of which each word of each text falls in one."""
        place, size = np.concatenate(of_word), len(classes)
        count = np.bincount(place, minlength=size)
        nats = {}
        for label, reading in readings.items():
            pairs = zip(words, reading.texts, strict=True)
            total = np.concatenate([text.nats(score.token_nats) for text, score in pairs])
            sums = np.bincount(place, total, size)
            nats[label] = np.divide(sums, count, out=np.full(size, np.nan), where=count > 0)
        return cls(by, classes, count, nats)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        nats = {label: [*map(finite, found.tolist())] for label, found in self.nats.items()}
        about = {"by": self.by, "classes": list(self.classes), "words": self.words.tolist()}
        return about | {"nats_per_word": nats}


def words_of(
    tokenizer: Tokenizer, texts: Sequence[Document], read: Sequence[Passage]
) -> list[Words] | None:
    """The words of each text, and as it was read; None if the tokenizer spells no word alone."""
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
    readings: Mapping[str, Reading], words: Sequence[Words], training: Iterable[Document] | None
) -> list[Gain]:
    """Loss by earlier occurrences in the document and, where it is known, by training frequency."""
    by, earlier = "earlier occurrences in the document", []
    for text in words:
        seen, found = Counter[str](), []
        for word in text.spellings:
            found.append(min(seen[word].bit_length(), len(OCCURRENCES) - 1))
            seen[word] += 1
        earlier.append(np.array(found, np.int64))
    gained = [Gain.of(by, OCCURRENCES, earlier, readings, words)]
    if training is not None:
        counts = Counter(word for document in training for word in document.text.split())
        digits = {word: min(len(str(n)), len(FREQUENCIES) - 1) for word, n in counts.items()}
        often = [np.array([digits.get(w, 0) for w in text.spellings], np.int64) for text in words]
        gained.append(Gain.of("occurrences in training", FREQUENCIES, often, readings, words))
    return gained


def loss_curve(
    texts: Sequence[Score], *, first: int = 32, ratio: float = 2**0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Mean position, counted from 1, and nats per token, in bins that widen by a constant ratio.

    All texts together; the first bin has `first` tokens, fewer being too few to average.
    """
    nats = np.concatenate([text.token_nats for text in texts], dtype=np.float64)
    position = np.concatenate([np.arange(1, text.tokens + 1) for text in texts])
    bins = np.ceil(np.log(np.maximum(position / first, 1)) / np.log(ratio)).astype(int)
    count = np.bincount(bins)
    full = count > 0
    means = [np.bincount(bins, of)[full] / count[full] for of in (position, nats)]
    return means[0], means[1]


def plot(
    readings: Mapping[str, Reading], base: str, found: Sequence[Gain], path: str | Path
) -> None:
    """Draw nats per token by position in the text, and, over `base`, a panel for each gain."""
    found = found if len(readings) > 1 else ()
    panels = 1 + len(found)
    with drawn(path, "lm", size=(2 + 6 * panels, 4.5), panels=panels) as (first, *others):
        for label, reading in readings.items():
            position, nats = loss_curve(reading.texts)
            legend = f"{label}: perplexity {reading.total.perplexity:,.2f}"
            first.plot(position, nats, label=legend, **_style(label, reading))
        count = len(readings[base].texts)
        texts = "1 text" if count == 1 else f"{count} texts"
        first.set(xscale="log", title=f"Loss while reading, mean over {texts}")
        first.set(xlabel="position in the text, in tokens", ylabel="loss, in nats per token")
        first.xaxis.set_major_formatter("{x:,.0f}")
        for axes, gain in zip(others, found, strict=True):
            for label, reading in readings.items():
                if label != base:
                    saved = gain.nats[base] - gain.nats[label]
                    axes.plot(gain.classes, saved, label=label, **_style(label, reading))
            axes.axhline(0, color="#222222", linewidth=0.5)
            ticks = [f"{c}\n{n:,}" for c, n in zip(gain.classes, gain.words, strict=True)]
            axes.set_xticks(range(len(ticks)), ticks, fontsize="small")
            across, up = f"{gain.by}; below, how many words", f"nats per word saved over {base}"
            axes.set(xlabel=across, ylabel=up, title="Which words gain")
        for axes in (first, *others):
            axes.legend(frameon=False, fontsize="small")


def _style(label: str, reading: Reading) -> dict[str, Any]:
    style: dict[str, Any] = {"marker": "o", "markersize": 3}
    if label != reading.arm:  # another model
        return style | {"linestyle": "--"}
    return style | ({"color": f"tab:{_COLORS[label]}"} if label in _COLORS else {})
