"""What a store holds, as values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

T = TypeVar("T")

Kind = Literal["create", "read", "response", "merge", "upload", "reset"]
"""How a version came to be."""


@dataclass(frozen=True)
class Key:
    """A key, but for its secret, which is told once and kept nowhere."""

    id: str
    owner: str  # whose memories it opens; several keys may open the same
    created: float  # seconds since 1970
    revoked: float | None  # when, if it is


@dataclass(frozen=True)
class Version:
    """A memory as it was at one time; nothing about it ever changes.

    Its *base* is the last version at or before it that did not grow out of its parent by reading:
    an empty one, or an upload. Its *ledger* is the tokens of its conversation: those that steps
    with `ledger="extend"` have read since the last one with `"begin"`.
    """

    id: str
    memory: str | None  # in which it was made; None if that was deleted, and a fork has it still
    parent: str | None
    kind: Kind
    created: float  # seconds since 1970
    blob: str  # SHA-256 of its memory file
    bytes: int  # size of that file
    tokens: int  # read by this step
    position: int  # read since its base, by all steps
    ledger: int  # how many tokens its ledger has
    response: str | None  # the name that an answer was given
    about: Mapping[str, Any]  # numbers for people, as the step brought them


@dataclass(frozen=True)
class Memory:
    """A name for a version, which moves on as more is read."""

    id: str
    name: str | None
    conversation: bool
    created: float  # seconds since 1970
    head: Version


@dataclass(frozen=True)
class Event:
    """Something that happened to a memory; `kind` is a version's, or `fork` or `undo`."""

    number: int  # grows
    memory: str
    kind: str
    created: float  # seconds since 1970
    version: str  # where the head was then, or the version that was made beside it
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Page(Generic[T]):
    """Some of a list, newest first."""

    items: Sequence[T]
    more: bool  # whether others follow the last


@dataclass(frozen=True)
class Usage:
    """What an owner has in the store."""

    memories: int
    versions: int
    bytes: int  # of blobs, each counted once


@dataclass(frozen=True)
class Retry:
    """By what a request is known again."""

    body: bytes  # all that the request asks for, in one canonical form
    key: str | None = None  # `Idempotency-Key`
    repeated: bool = False  # the client says, by its retry counter, that it has sent this before


@dataclass(frozen=True)
class Step:
    """What is to become a version.

    Attributes:
        parent: the version that it was computed from.
        content: the memory file after it.
        tokens: what was read meanwhile, prompt and answer, without what the parent had read.
        kind: `read` or `response`.
        ledger: `extend` that of the parent by these tokens; or `keep` it as it is, because they
            are of no conversation; or `begin` a conversation with them.
        moves: where the head must be, so as to be moved to the new version; None moves no head.
        response: a name for the new version, by which `Store.response` finds it.
        result: what a retry is to be answered.
        about: numbers for people, such as loss and rows; JSON.
        retry: by what the request is known again.
    """

    parent: str
    content: bytes
    tokens: Sequence[int] = ()
    kind: Kind = "read"
    ledger: Literal["extend", "keep", "begin"] = "extend"
    moves: str | None = None
    response: str | None = None
    result: bytes = b""
    about: Mapping[str, Any] = field(default_factory=dict)
    retry: Retry | None = None


@dataclass(frozen=True)
class Done:
    """What a request came to."""

    version: Version
    result: bytes
    replayed: bool  # it had been done before, and was not done again


@dataclass(frozen=True)
class Match:
    """How much of a chat that is sent again was read already."""

    version: Version
    tokens: int  # of the chat, from its beginning: the rest is still to be read
