"""Text to tokens and back: byte-level pairs learned from text, plain bytes, or words.

A separator stands before each document. Of the byte-level kinds, which lose nothing, it is the last
id and has no spelling, so no text can encode to it. Of words it is `<eos>`, as in the literature's
one long stream, and decoding gives back words and lines but not the white space between.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsemeta.errors import CheckpointError, CorpusError
from sparsemeta.lm.config import TokenizerConfig
from sparsemeta.lm.text import bpe, words
from sparsemeta.lm.text.corpus import Document

_FILE_NAME = "tokenizer.json"
_BYTES_FILE = {"kind": "bytes"}


class Tokenizer(ABC):
    """Turns text into token ids and back; `vocab_size` counts the separator."""

    vocab_size: int

    @property
    def separator(self) -> int:
        """The id that stands before each document."""
        return self.vocab_size - 1

    def encode(self, text: str) -> np.ndarray:
        """The tokens of one text, int32 of shape (tokens,); see `encode_all`."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: Sequence[str]) -> list[np.ndarray]:
        """The tokens of each text, int32 of shape (tokens,); the fast way for many texts.

        Raises:
            CorpusError: a text holds a lone surrogate, which is not a character.
        """
        try:
            data = [text.encode("utf-8") for text in texts]
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"a text has a lone surrogate at character {error.start}, which UTF-8 cannot "
                "hold. Replace it before encoding."
            ) from None
        return self._encode(texts, data)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`. Part of a character becomes U+FFFD.

        A separator that no text encodes to vanishes.
        """
        return self._decode([int(i) for i in ids])

    def save(self, folder: Path) -> None:
        """Write tokenizer.json into an existing folder."""
        (folder / _FILE_NAME).write_text(self._to_json(), encoding="utf-8")

    def fingerprint(self) -> str:
        """Hash of tokenizer.json, the same for tokenizers that encode alike."""
        return hashlib.sha256(self._to_json().encode("utf-8")).hexdigest()

    @abstractmethod
    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        """Encode `texts`; `data` is the same in UTF-8."""

    @abstractmethod
    def _decode(self, ids: list[int]) -> str: ...

    @abstractmethod
    def _to_json(self) -> str: ...


class ByteTokenizer(Tokenizer):
    """One token per UTF-8 byte, and the separator."""

    vocab_size = 257

    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        return [np.frombuffer(item, dtype=np.uint8).astype(np.int32) for item in data]

    def _decode(self, ids: list[int]) -> str:
        return bytes(i for i in ids if i < self.separator).decode("utf-8", errors="replace")

    def _to_json(self) -> str:
        return json.dumps(_BYTES_FILE)


class BPETokenizer(Tokenizer):
    """Byte-level pair encoding and the separator; saved as the `tokenizers` library saves it.

    Args:
        pairs: what `bpe.train` or `bpe.parse` returned.
    """

    def __init__(self, pairs: Any):
        self._pairs = pairs
        self.vocab_size = pairs.get_vocab_size() + 1

    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        return bpe.encode(self._pairs, texts)

    def _decode(self, ids: list[int]) -> str:
        return self._pairs.decode([i for i in ids if i < self.separator])

    def _to_json(self) -> str:
        return self._pairs.to_str()


class WordTokenizer(Tokenizer):
    """Words, and `<eos>` for each line's end; decoding loses other white space and rare words.

    Args:
        vocabulary: what `words.train` or `words.parse` returned.
    """

    def __init__(self, vocabulary: list[str]):
        self._words = vocabulary
        self._ids = {word: i for i, word in enumerate(vocabulary)}
        self.vocab_size = len(vocabulary)

    @property
    def separator(self) -> int:
        """`<eos>`: a document begins as a line does."""
        return self._ids[words.EOS]

    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        return [words.encode(self._ids, text) for text in texts]

    def _decode(self, ids: list[int]) -> str:
        return words.decode(self._words, ids)

    def _to_json(self) -> str:
        return json.dumps({"kind": "words", "words": self._words})


def train_tokenizer(config: TokenizerConfig, documents: Iterable[Document]) -> Tokenizer:
    """Learn the tokenizer that `config` asks for; the same documents give the same tokenizer.

    Args:
        config: the kind, and the size of the vocabulary.
        documents: the training text; too little of it gives a smaller vocabulary.
    """
    if config.kind == "bytes":
        return ByteTokenizer()
    texts = (item.text for item in documents)
    if config.kind == "words":
        return WordTokenizer(words.train(texts, config.vocabulary))
    return BPETokenizer(bpe.train(texts, config.vocabulary - 1))


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer.json of a model folder.

    Raises:
        CheckpointError: the file is missing, damaged or of no kind that is known.
    """
    path = folder / _FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        if data == _BYTES_FILE:
            return ByteTokenizer()
        if isinstance(data, dict) and data.get("kind") == "words":
            return WordTokenizer(words.parse(data.get("words")))
        return BPETokenizer(bpe.parse(text))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{path}: cannot be used ({reason}). Restore it from the folder the model was trained "
            "in; the weights are of no use without it."
        ) from None
