"""Text to tokens and back: byte-level pairs learned from text, plain bytes, or words.

A separator stands before each document. Of the byte-level kinds, which lose nothing, it is the last
id and has no spelling, so no text can encode to it. Of words it is `<eos>`, as in the literature's
one long stream, and decoding gives back words and lines but not the white space between.
"""

import hashlib
import json
import os
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from sparsemeta.errors import CheckpointError, CorpusError, require_installed
from sparsemeta.lm.config import TokenizerConfig
from sparsemeta.lm.text.corpus import Document

EOS, UNK = "<eos>", "<unk>"
_FILE_NAME = "tokenizer.json"
_BYTES_FILE = {"kind": "bytes"}

# Long texts are encoded in pieces, in parallel and in little memory. A piece ends between a
# printable ASCII character and a space or line feed: no token spans that place, so the tokens are
# those of the whole text.
_PIECE = re.compile(r".{65536}.*?[!-~](?=[ \n])|.+", re.DOTALL)
_PIECES_AT_ONCE = 64

# The byte that each letter of a byte-level vocabulary stands for, as GPT-2 has it: printable ones
# for themselves, the rest for what follows U+00FF.
_PRINTED = [*range(33, 127), *range(161, 173), *range(174, 256)]
_OTHERS = [byte for byte in range(256) if byte not in _PRINTED]
_BYTES = {chr(byte): byte for byte in _PRINTED} | {chr(256 + i): b for i, b in enumerate(_OTHERS)}

# What a normalizer, a stripped end or an added space would change.
_PROBE = "A\u0301\ufb01  x\r\n\t\U0001d11e "


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
        """The tokens of each text, int32 of shape (tokens,); the fast way for many texts."""
        try:
            data = [text.encode("utf-8") for text in texts]
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"a text has a lone surrogate at character {error.start}, which UTF-8 cannot "
                "hold. Replace it before encoding."
            ) from None
        return self._encode(texts, data)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of `ids`: part of a character is U+FFFD, an unspelt separator nothing."""
        return self._decode([int(i) for i in ids])

    def spell(self, ids: Iterable[int]) -> bytes:
        """The bytes that `ids` are made of; an unspelt separator is none."""
        return b"".join(self._spelling(int(i)) for i in ids)

    def endings(self, length: int) -> np.ndarray:
        """The last bytes of every token, int16 of shape (vocab_size, length).

        The newest stands last, -1 where there are fewer. What has no spelling ends as byte 0 does.
        """
        found = np.full((self.vocab_size, length), -1, np.int16)
        for token in range(self.vocab_size):
            spelt = (self._spelling(token) or b"\0")[::-1][:length]
            found[token, length - len(spelt) :] = list(spelt[::-1])
        return found

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

    def _spelling(self, token: int) -> bytes:
        """The bytes of one token."""
        return self._decode([token]).encode("utf-8")

    @abstractmethod
    def _to_json(self) -> str: ...


class ByteTokenizer(Tokenizer):
    """One token per UTF-8 byte, and the separator."""

    vocab_size = 257

    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        return [np.frombuffer(item, dtype=np.uint8).astype(np.int32) for item in data]

    def _decode(self, ids: list[int]) -> str:
        return bytes(i for i in ids if i < self.separator).decode("utf-8", errors="replace")

    def _spelling(self, token: int) -> bytes:
        return bytes([token][: token < self.separator])

    def _to_json(self) -> str:
        return json.dumps(_BYTES_FILE)


class BPETokenizer(Tokenizer):
    """Byte-level pair encoding and the separator, around and saved as a `tokenizers.Tokenizer`."""

    def __init__(self, pairs: Any):
        self._pairs = pairs
        self.vocab_size = pairs.get_vocab_size() + 1

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> Self:
        """Learn at most `vocabulary` tokens, the 256 bytes and the separator among them."""
        library = _library()
        byte_level = library.pre_tokenizers.ByteLevel
        pairs = library.Tokenizer(library.models.BPE())
        pairs.pre_tokenizer = byte_level(add_prefix_space=False)
        pairs.decoder = library.decoders.ByteLevel()
        alphabet = sorted(byte_level.alphabet())
        options = {"initial_alphabet": alphabet, "show_progress": False}
        trainer = library.trainers.BpeTrainer(vocab_size=vocabulary - 1, **options)
        pairs.train_from_iterator(texts, trainer)
        return cls(pairs)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a tokenizer.json of the library; a ValueError if it is not that or loses text."""
        library = _library()
        try:
            pairs = library.Tokenizer.from_str(text)
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(str(error)) from None
        vocabulary = pairs.get_vocab()
        alphabet = set(library.pre_tokenizers.ByteLevel.alphabet())
        if not alphabet <= vocabulary.keys() or pairs.decode(pairs.encode(_PROBE).ids) != _PROBE:
            raise ValueError("not a lossless byte-level tokenizer")
        if max(vocabulary.values()) >= len(vocabulary):
            raise ValueError("its vocabulary has gaps")
        return cls(pairs)

    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        pieces = [(i, piece) for i, text in enumerate(texts) for piece in _PIECE.findall(text)]
        ids = [[np.empty(0, dtype=np.int32)] for _ in texts]
        for start in range(0, len(pieces), _PIECES_AT_ONCE):
            owners, batch = zip(*pieces[start : start + _PIECES_AT_ONCE], strict=True)
            encodings = self._pairs.encode_batch_fast(list(batch), add_special_tokens=False)
            for i, encoding in zip(owners, encodings, strict=True):
                ids[i].append(np.array(encoding.ids, dtype=np.int32))
        return [np.concatenate(parts) for parts in ids]

    def _decode(self, ids: list[int]) -> str:
        return self._pairs.decode([i for i in ids if i < self.separator])

    def _spelling(self, token: int) -> bytes:
        return bytes(_BYTES[letter] for letter in self._pairs.id_to_token(token) or "")

    def _to_json(self) -> str:
        return self._pairs.to_str()


class WordTokenizer(Tokenizer):
    """What stands between white space, `<eos>` for each line's end, and `<unk>` for rare words.

    This is how PTB and WikiText are counted: the test set of WikiText-2 is 245,569 tokens, its
    vocabulary 33,278. A last line without an end has no `<eos>`; the word `<eos>` in a text is one.
    """

    def __init__(self, vocabulary: Any):
        if not isinstance(vocabulary, list) or vocabulary[:2] != [EOS, UNK]:
            raise ValueError(f"its words are no list that begins with {EOS}, {UNK}")
        for word in vocabulary:
            if not isinstance(word, str) or word.split() != [word]:
                raise ValueError(f"{word!r:.40} is not a word")
        if len(set(vocabulary)) < len(vocabulary):
            raise ValueError("a word is there twice")
        self._words: list[str] = vocabulary
        self._ids = {word: i for i, word in enumerate(vocabulary)}
        self.vocab_size = len(vocabulary)

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> Self:
        """Learn at most `vocabulary` words, the most frequent, of these the first to appear."""
        counts = Counter(word for text in texts for word in text.split())
        for special in (EOS, UNK):
            counts.pop(special, None)
        return cls([EOS, UNK, *(word for word, _ in counts.most_common(vocabulary - 2))])

    @property
    def separator(self) -> int:
        """`<eos>`: a document begins as a line does."""
        return self._ids[EOS]

    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        unknown, lines = self._ids[UNK], (text.replace("\n", f" {EOS} ") for text in texts)
        found = ([self._ids.get(word, unknown) for word in line.split()] for line in lines)
        return [np.array(ids, dtype=np.int32) for ids in found]

    def _decode(self, ids: list[int]) -> str:
        spelling = " ".join("\n" if self._words[i] == EOS else self._words[i] for i in ids)
        return re.sub(" ?\n ?", "\n", spelling)

    def _spelling(self, token: int) -> bytes:
        word = self._words[token]
        return b"\n" if word == EOS else word.encode("utf-8") + b" "

    def _to_json(self) -> str:
        return json.dumps({"kind": "words", "words": self._words})


def train_tokenizer(config: TokenizerConfig, documents: Iterable[Document]) -> Tokenizer:
    """Learn a tokenizer; too little text gives a smaller vocabulary, the same text the same one."""
    if config.kind == "bytes":
        return ByteTokenizer()
    kind = WordTokenizer if config.kind == "words" else BPETokenizer
    return kind.train((item.text for item in documents), config.vocabulary)


def load_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer.json of a model folder."""
    path = folder / _FILE_NAME
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text)
        if data == _BYTES_FILE:
            return ByteTokenizer()
        if isinstance(data, dict) and data.get("kind") == "words":
            return WordTokenizer(data.get("words"))
        return BPETokenizer.parse(text)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{path}: cannot be used ({reason}). Restore it from the folder the model was trained "
            "in; the weights are of no use without it."
        ) from None


def _library() -> Any:
    # An explicit setting also silences the library's warning when the process forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    require_installed("tokenizers", "lm")
    import tokenizers

    return tokenizers
