"""Byte-level pair encoding: the only file that knows the `tokenizers` library."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from sparsemeta.errors import require_installed

# Long texts are encoded in pieces, in parallel and in little memory. A piece ends between a
# printable ASCII character and a space or line feed: no token spans that place, so the tokens are
# those of the whole text.
_PIECE = re.compile(r".{65536}.*?[!-~](?=[ \n])|.+", re.DOTALL)
_PIECES_AT_ONCE = 64

# What a normalizer, a stripped end or an added space would change.
_PROBE = "A\u0301\ufb01  x\r\n\t\U0001d11e "


def train(texts: Iterable[str], vocabulary: int) -> Any:
    """Learn at most `vocabulary` tokens, the 256 bytes first; too little text gives fewer.

    Returns:
        A `tokenizers.Tokenizer`, the same one for the same texts.
    """
    library = _library()
    byte_level = library.pre_tokenizers.ByteLevel
    bpe = library.Tokenizer(library.models.BPE())
    bpe.pre_tokenizer = byte_level(add_prefix_space=False)
    bpe.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocabulary, initial_alphabet=sorted(byte_level.alphabet()), show_progress=False
    )
    bpe.train_from_iterator(texts, trainer)
    return bpe


def parse(text: str) -> Any:
    """Read a `tokenizers.Tokenizer` from its JSON.

    Raises:
        ValueError: it is not that, or it would lose text.
    """
    library = _library()
    try:
        bpe = library.Tokenizer.from_str(text)
    except Exception as error:  # the library raises nothing narrower
        raise ValueError(str(error)) from None
    vocabulary = bpe.get_vocab()
    alphabet = set(library.pre_tokenizers.ByteLevel.alphabet())
    if not alphabet <= vocabulary.keys() or bpe.decode(bpe.encode(_PROBE).ids) != _PROBE:
        raise ValueError("not a lossless byte-level tokenizer")
    if max(vocabulary.values()) >= len(vocabulary):
        raise ValueError("its vocabulary has gaps")
    return bpe


def encode(bpe: Any, texts: Sequence[str]) -> list[np.ndarray]:
    """The tokens of each text, int32 of shape (tokens,)."""
    pieces = [(i, piece) for i, text in enumerate(texts) for piece in _PIECE.findall(text)]
    ids = [[np.empty(0, dtype=np.int32)] for _ in texts]
    for start in range(0, len(pieces), _PIECES_AT_ONCE):
        batch = pieces[start : start + _PIECES_AT_ONCE]
        encodings = bpe.encode_batch_fast([piece for _, piece in batch], add_special_tokens=False)
        for (i, _), encoding in zip(batch, encodings, strict=True):
            ids[i].append(np.array(encoding.ids, dtype=np.int32))
    return [np.concatenate(parts) for parts in ids]


def _library() -> Any:
    # An explicit setting also silences the library's warning when the process forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    require_installed("tokenizers", "lm")
    import tokenizers

    return tokenizers
