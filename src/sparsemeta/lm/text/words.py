"""Word-level tokens: what stands between white space, and `<eos>` for each line's end.

This is how PTB and WikiText are counted: the test set of WikiText-2 is 245,569 tokens, its
vocabulary 33,278. A last line without an end has no `<eos>`; the word `<eos>` in a text is one.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

EOS, UNK = "<eos>", "<unk>"


def train(texts: Iterable[str], vocabulary: int) -> list[str]:
    """Learn at most `vocabulary` tokens.

    Returns:
        `<eos>`, `<unk>`, then the words by falling frequency, those as frequent in the order of
        their first appearance.
    """
    counts = Counter(word for text in texts for word in text.split())
    for special in (EOS, UNK):
        counts.pop(special, None)
    return [EOS, UNK, *(word for word, _ in counts.most_common(vocabulary - 2))]


def parse(words: Any) -> list[str]:
    """Check a vocabulary that was read from a file.

    Raises:
        ValueError: it is not what `train` returns.
    """
    if not isinstance(words, list) or words[:2] != [EOS, UNK]:
        raise ValueError(f"its words are no list that begins with {EOS}, {UNK}")
    for word in words:
        if not isinstance(word, str) or word.split() != [word]:
            raise ValueError(f"{word!r:.40} is not a word")
    if len(set(words)) < len(words):
        raise ValueError("a word is there twice")
    return words


def encode(ids: Mapping[str, int], text: str) -> np.ndarray:
    """The tokens of a text, int32 of shape (tokens,); unknown words are `<unk>`."""
    words = text.replace("\n", f" {EOS} ").split()
    unknown = ids[UNK]
    return np.array([ids.get(word, unknown) for word in words], dtype=np.int32)


def decode(words: Sequence[str], ids: Iterable[int]) -> str:
    """Words with a space between, and a line's end for each `<eos>`."""
    spelling = " ".join("\n" if words[i] == EOS else words[i] for i in ids)
    return re.sub(" ?\n ?", "\n", spelling)
