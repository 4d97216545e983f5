"""A packed file: 46 bytes of what made it and what is in it, then what the range coder wrote.

The digest of its first part is of all the rest, so that damage is found before any work. Who
unpacks must read with the same model and memory, of the same versions, in as many threads, and
round alike; else it would go wrong somewhere in the middle.
"""

import hashlib
import struct
from typing import NamedTuple, Self

from sparsemeta.errors import CompressionError

_MAGIC, _FORMAT = b"smz", 1
_SEAL = struct.Struct("<3sB4s")
_FACTS = struct.Struct("<3s3sBB4s4s4s5s5s8s")
_SIZE = 5
NO_MEMORY = b"\0" * 4


class Maker(NamedTuple):
    """All that decides what a model says of a text."""

    sparsemeta: bytes  # its version
    torch: bytes  # likewise
    threads: int
    strands: int
    model: bytes  # weights, settings and tokenizer
    memory: bytes
    arithmetic: bytes  # what came out


class Header(NamedTuple):
    """What a packed file says of itself."""

    maker: Maker
    tokens: int
    size: int  # of the original, in bytes
    digest: bytes  # of the original

    def pack(self, coded: bytes) -> bytes:
        """The whole file."""
        sizes = [number.to_bytes(_SIZE, "little") for number in (self.tokens, self.size)]
        facts = _FACTS.pack(*self.maker, *sizes, self.digest) + coded
        return _SEAL.pack(_MAGIC, _FORMAT, short_digest(facts)) + facts

    @classmethod
    def unpack(cls, file: bytes) -> tuple[Self, bytes]:
        """A header, and what the range coder wrote.

        Raises:
            CompressionError: it is no packed file, of another version, or damaged.
        """
        if file[:3] != _MAGIC or len(file) < _SEAL.size:
            raise CompressionError("this is not a file that `sparsemeta compress` made.")
        _, version, seal = _SEAL.unpack_from(file)
        if version != _FORMAT:
            raise CompressionError(
                f"this file is of format {version}, but this version reads {_FORMAT}. "
                "Decompress it with the version that made it."
            )
        facts = file[_SEAL.size :]
        if short_digest(facts) != seal or len(facts) < _FACTS.size:
            raise CompressionError(
                "this file is damaged (its digests differ). Restore it from a copy."
            )
        *maker, tokens, size, digest = _FACTS.unpack_from(facts)
        tokens, size = (int.from_bytes(number, "little") for number in (tokens, size))
        return cls(Maker(*maker), tokens, size, digest), facts[_FACTS.size :]


def require_same(made: Maker, here: Maker) -> None:
    """Raise `CompressionError` unless this is the maker of the file, in words of what is not."""
    for name in ("sparsemeta", "torch"):
        theirs, ours = (".".join(map(str, getattr(maker, name))) for maker in (made, here))
        _require(theirs == ours, f"with {name} {theirs}, but this is {ours}. Install that one")
    _require(made.model == here.model, "by another model. Name the model that made it")
    if made.memory == NO_MEMORY != here.memory:
        _require(False, "without a memory. Leave out --memory")
    which = "with a memory" if here.memory == NO_MEMORY else "with another memory, or an earlier"
    _require(made.memory == here.memory, f"{which}. Name its file: --memory FILE")
    _require(
        made.threads == here.threads,
        f"with a thread count of {made.threads}, but here it is {here.threads}, and could round "
        f"otherwise. Set OMP_NUM_THREADS={made.threads}",
    )
    _require(
        made.arithmetic == here.arithmetic,
        "on another machine, or with other libraries: the same model computes other numbers here. "
        "Decompress it where it was made",
    )


def _require(same: bool, how: str) -> None:
    if not same:
        raise CompressionError(f"this file was made {how}.")


def short_digest(data: bytes, size: int = 4) -> bytes:
    """The first bytes of the SHA-256 of some data."""
    return hashlib.sha256(data).digest()[:size]


def version(text: str) -> bytes:
    """The three numbers of a version such as 2.13.0+cpu, as bytes."""
    numbers = [int(part) if part.isdigit() else 0 for part in text.partition("+")[0].split(".")]
    return bytes([min(number, 255) for number in (*numbers, 0, 0, 0)[:3]])
