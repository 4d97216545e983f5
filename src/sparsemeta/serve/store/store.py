"""`Store`: the memories of all owners, in one folder, for one process."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

from sparsemeta.fast_weights import Blueprint
from sparsemeta.serve.store.keys import Keys
from sparsemeta.serve.store.types import (
    Done,
    Event,
    Match,
    Memory,
    Page,
    Retry,
    Step,
    Usage,
    Version,
)

DEFAULT = "default"
"""The name of the memory of requests that name none."""


class Store:
    """The memories of all owners of one model.

    Every method may be called from any thread; what it returns is on the disk. An owner is known by
    a key alone, and what is another's does not exist: `NotFoundError` says the same of both. A memory is
    named by its id, or by its name.

    Args:
        folder: of the store; it is created, for this user alone, if there is none.
        blueprint: what the memories of the served model look like.
        most: bytes that one memory may have.
        clock: seconds since 1970.

    Attributes:
        keys: who may use it.

    Raises:
        StoreError: it is open elsewhere, of another model, or damaged.
    """

    keys: Keys

    def __init__(
        self,
        folder: str | Path,
        blueprint: Blueprint,
        *,
        most: int = 2**28,
        clock: Callable[[], float] = time.time,
    ):
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(self, *_: object) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Let others open it; a store that was not closed loses nothing."""
        raise NotImplementedError

    # What there is.

    def memory(self, owner: str, memory: str) -> Memory:
        """A memory, by its id or its name.

        Raises:
            NotFoundError: the owner has none such.
        """
        raise NotImplementedError

    def default(self, owner: str) -> Memory:
        """The memory of requests that name none; an empty one is made when it is first asked for."""
        raise NotImplementedError

    def memories(
        self, owner: str, *, conversations: bool = False, after: str | None = None, limit: int = 20
    ) -> Page[Memory]:
        """An owner's memories, or conversations, newest first, those after an id of the list.

        Raises:
            NotFoundError: there is no memory `after`.
        """
        raise NotImplementedError

    def version(self, owner: str, version: str) -> Version:
        """A version, by its id.

        Raises:
            NotFoundError: the owner has none such.
        """
        raise NotImplementedError

    def response(self, owner: str, response: str) -> Version:
        """The version of an answer, by the name that its step gave it.

        Raises:
            NotFoundError: the owner has none such.
        """
        raise NotImplementedError

    def versions(
        self, owner: str, memory: str, *, after: str | None = None, limit: int = 20
    ) -> Page[Version]:
        """All that a memory was, on every branch, newest first; for a fork, also before it was one.

        Raises:
            NotFoundError: there is no such memory, or no version `after`.
        """
        raise NotImplementedError

    def events(self, owner: str, memory: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
        """What happened to a memory, oldest first, those of a higher number than `after`.

        Raises:
            NotFoundError: the owner has no such memory.
        """
        raise NotImplementedError

    def usage(self, owner: str) -> Usage:
        """How much an owner has; nothing, for an owner who is not known."""
        raise NotImplementedError

    # What versions hold.

    def path(self, owner: str, version: str) -> Path:
        """The memory file of a version, for `FastWeights.load(path, blueprint)`; never write to it.

        Raises:
            NotFoundError: the owner has no such version.
        """
        raise NotImplementedError

    def content(self, owner: str, version: str) -> bytes:
        """The memory file of a version, checked against its digest.

        Raises:
            NotFoundError: the owner has no such version.
            StoreError: the file is not what was written.
        """
        raise NotImplementedError

    def tail(self, owner: str, version: str, limit: int) -> list[int]:
        """The last tokens that were read up to a version, at most `limit`, back to its base.

        They are what an attention window is filled with again.

        Raises:
            NotFoundError: the owner has no such version.
        """
        raise NotImplementedError

    def ledger(self, owner: str, version: str) -> list[int]:
        """All tokens of a version's conversation.

        Raises:
            NotFoundError: the owner has no such version.
        """
        raise NotImplementedError

    def match(self, owner: str, memory: str, tokens: Sequence[int]) -> Match | None:
        """The version from which a chat that is sent again goes on, so that it is learned once.

        Of all versions from the head back to its base whose ledger, not an empty one, is a prefix
        of these tokens: the one with the longest ledger, and of several the latest. If it is not
        the head, histories diverge there. None if there is none: a conversation begins.

        Raises:
            NotFoundError: the owner has no such memory.
        """
        raise NotImplementedError

    # What changes it.

    def create(self, owner: str, name: str | None = None, *, conversation: bool = False) -> Memory:
        """An empty memory; its id begins with `mem_`, a conversation's with `conv_`.

        Raises:
            ConflictError: the owner has one of this name, or it cannot be a name.
        """
        raise NotImplementedError

    def fork(
        self, owner: str, version: str, name: str | None = None, *, conversation: bool = False
    ) -> Memory:
        """A new memory whose head is on a version that there is; nothing is copied.

        Raises:
            NotFoundError: the owner has no such version.
            ConflictError: as of `create`.
        """
        raise NotImplementedError

    def replay(self, owner: str, memory: str, parent: str, retry: Retry) -> Done | None:
        """What a request came to, if it was done before; asked before it is worked on.

        With a key, by the key. Without, and if the client says that it repeats itself, by the body:
        done from the same parent, or in the last ten minutes on the way to the parent.

        Raises:
            NotFoundError: the owner has no such memory or version.
            ConflictError: the key was used for another body.
        """
        raise NotImplementedError

    def commit(self, owner: str, memory: str, step: Step) -> Done:
        """Make a version: when this returns, it survives a kill and a power cut.

        If the request turns out to be done already, as `replay` finds it, that is returned instead.

        Raises:
            NotFoundError: the owner has no such memory, or the memory no such parent.
            ConflictError: the head is not where `step.moves` says; the retry's key was used for another
                body; the response's name was used.
            TooLargeError: the content has too many bytes.
            StoreError: it cannot be written; nothing was changed.
        """
        raise NotImplementedError

    def undo(
        self, owner: str, memory: str, to: str | None = None, *, expect: str | None = None
    ) -> Memory:
        """Move the head to any version of the memory; to the parent of where it is if None.

        Nothing is lost: what was undone can be moved to as well.

        Args:
            owner: of the memory.
            memory: its id or name.
            to: a version that `versions` lists.
            expect: where the head must be (`If-Match`); anywhere if None. As below.

        Raises:
            NotFoundError: there is no such memory, or version of it.
            ConflictError: the head is elsewhere, or on the first version.
        """
        raise NotImplementedError

    def reset(self, owner: str, memory: str, *, expect: str | None = None) -> Memory:
        """Move the head to a new version which is empty; its parent is where the head was.

        Raises:
            NotFoundError: the owner has no such memory.
            ConflictError: the head is elsewhere.
        """
        raise NotImplementedError

    def upload(
        self, owner: str, memory: str, content: bytes, *, expect: str | None = None
    ) -> Memory:
        """Move the head to a new version that holds an uploaded file.

        Raises:
            NotFoundError: the owner has no such memory.
            ConflictError: the head is elsewhere.
            TooLargeError: it has too many bytes.
            StateError: it is no memory of this model; found before anything is allocated.
        """
        raise NotImplementedError

    def merge(
        self,
        owner: str,
        memory: str,
        other: str,
        combine: Callable[[Path, Path, Path | None], bytes],
        *,
        expect: str | None = None,
    ) -> Memory:
        """Move the head to a new version that also holds what another memory learned.

        Args:
            owner: of both.
            memory: which goes on.
            other: a memory, which stays as it is.
            combine: takes the two memory files, and that of the last version that both grew from
                since it was empty or uploaded, if there is one; gives the merged file.
            expect: where the head must be.

        Raises:
            NotFoundError: the owner has no such memories.
            ConflictError: the head is elsewhere, or moved meanwhile.
        """
        raise NotImplementedError

    def delete(self, owner: str, memory: str) -> None:
        """Erase a memory and all its versions that no other memory has.

        When this returns, what they held is in no file of the store.

        Raises:
            NotFoundError: the owner has no such memory.
        """
        raise NotImplementedError
