"""What versions have read: records on the disk, and hashes by which a prefix is found quickly."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

PRIME = 2**127 - 1


class Hasher:
    r"""Hashes sequences of tokens so that those of all prefixes come in one pass.

    $h(t_1 \dots t_n) = \sum_i (t_i + 1) k^{n-i} \bmod 2^{127} - 1$: two sequences of n tokens have
    the same hash for at most n of all k (Carter and Wegman 1979), and k is secret. So a version's
    hash follows from its parent's and from the tokens between, and whoever does not know k finds no
    two texts that are taken for each other.
    """

    def __init__(self, secret: str):
        self._key = int(secret, 16) % PRIME

    def extend(self, begun: str, tokens: Sequence[int]) -> str:
        """The hash of a sequence and more tokens."""
        value = int(begun, 16)
        for token in tokens:
            value = (value * self._key + token + 1) % PRIME
        return f"{value:032x}"

    def prefixes(self, tokens: Sequence[int], lengths: Sequence[int]) -> Iterator[tuple[int, str]]:
        """The hashes of the first tokens, as many as each of these lengths, which ascend, says."""
        value = NOTHING
        for start, end in pairwise((0, *lengths)):
            value = self.extend(value, tokens[start:end])
            yield end, value


NOTHING = f"{0:032x}"
"""The hash of no tokens."""


def pack(tokens: Sequence[int], result: bytes) -> bytes:
    """The record of a step: what it read, and what it answered."""
    return len(tokens).to_bytes(8, "little") + np.asarray(tokens, "<i4").tobytes() + result


def unpack(record: bytes) -> tuple[list[int], bytes]:
    """The inverse of `pack`."""
    end = 8 + 4 * int.from_bytes(record[:8], "little")
    return np.frombuffer(record[8:end], "<i4").tolist(), record[end:]
