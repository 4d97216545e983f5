"""Bytes as tokens, and tokens as the bytes that they are made of."""

import re
from collections.abc import Sequence

import numpy as np

from sparsemeta.errors import ConfigError
from sparsemeta.lm.text import Tokenizer

_NO_TEXT = re.compile("([\udc80-\udcff])")
"""A byte that is no part of UTF-8, as Python's `surrogateescape` has it."""


class Spelling:
    """What every token of a tokenizer spells."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._bytes = [tokenizer.spell([token]) for token in range(tokenizer.vocab_size)]

    def spell(self, tokens: Sequence[int] | np.ndarray) -> bytes:
        """The bytes that tokens are made of."""
        return b"".join([self._bytes[token] for token in tokens])

    def tokens(self, data: bytes) -> np.ndarray:
        """The tokens (tokens,) int32 that spell these bytes; a byte that is no text is one token.

        Raises:
            ConfigError: the tokenizer loses some of them.
        """
        text = data.decode("utf-8", errors="surrogateescape")
        *parts, last = _NO_TEXT.split(text)
        single = {spelt: token for token, spelt in enumerate(self._bytes) if len(spelt) == 1}
        strange = [single.get(x.encode("utf-8", "surrogateescape")) for x in parts[1::2]]
        readable = self._tokenizer.encode_all([*parts[::2], last])
        found = [readable[0]]
        for token, after in zip(strange, readable[1:], strict=True):
            found += [np.array([] if token is None else [token], np.int32), after]
        tokens = np.concatenate(found)
        if self.spell(tokens) != data:
            raise ConfigError(
                "the tokens of this model do not give these bytes back: it reads words, and would "
                "lose the white space between them, and rare words. Choose a model whose "
                'tokenizer.kind is "bpe" or "bytes".'
            )
        return tokens
