"""`Growing`: memories begun, forked and continued by one step after another."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sparsemeta.errors import TooLargeError
from sparsemeta.serve.store.ledgers import unpack
from sparsemeta.serve.store.lineage import placed, version_of
from sparsemeta.serve.store.rows import (
    insert,
    memory_row,
    memory_value,
    version_row,
    version_value,
)
from sparsemeta.serve.store.steps import (
    add_memory,
    add_retry,
    check_response,
    expect_head,
    find_retry,
    grown,
)
from sparsemeta.serve.store.types import Done, Memory, Retry, Step
from sparsemeta.serve.store.views import Views


class Growing(Views):
    """What a store holds, and how that grows."""

    _most: int
    _empty: bytes
    _clock: Callable[[], float]

    def create(self, owner: str, name: str | None = None, *, conversation: bool = False) -> Memory:
        """An empty memory; its id begins with `mem_`, a conversation's with `conv_`.

        Raises:
            ConflictError: the owner has one of this name, or it cannot be a name.
        """
        step = Step("", self._empty, kind="create", ledger="begin")
        made = grown(self._hasher, None, step)
        with self._written(made, step.content), self._database.transaction() as sql:
            about = {"name": name, "conversation": conversation, "created": self._clock()}
            memory = add_memory(sql, owner, made["id"], **about)
            self._insert(sql, owner, memory, made)
            return memory_value(sql, memory_row(sql, owner, memory))

    def fork(
        self, owner: str, version: str, name: str | None = None, *, conversation: bool = False
    ) -> Memory:
        """A new memory whose head is on a version that there is; nothing is copied.

        Raises:
            NotFoundError: the owner has no such version.
            ConflictError: as of `create`.
        """
        with self._database.transaction() as sql:
            version_row(sql, owner, version)
            about = {"name": name, "conversation": conversation, "created": self._clock()}
            memory = add_memory(sql, owner, version, **about)
            self._note(sql, memory, "fork", version)
            return memory_value(sql, memory_row(sql, owner, memory))

    def replay(self, owner: str, memory: str, parent: str, retry: Retry) -> Done | None:
        """What a request came to, if it was done before; asked before it is worked on.

        With a key, by the key. Without, and if the client says that it repeats itself, by the body:
        done from the same parent, or in the last ten minutes on the way to the parent.

        Raises:
            NotFoundError: the owner has no such memory or version.
            ConflictError: the key was used for another body.
        """
        with self._database.transaction() as sql:
            row = memory_row(sql, owner, memory)
            return self._replayed(sql, row, version_of(sql, row, parent), retry)

    def commit(self, owner: str, memory: str, step: Step) -> Done:
        """Make a version: when this returns, it survives a kill and a power cut.

        If the request turns out to be done already, as `replay` finds it, that is returned instead.

        Raises:
            NotFoundError: the owner has no such memory, or the memory no such parent.
            ConflictError: the head is not where `step.moves` says; the retry's key was used for
                another body; the response's name was used.
            TooLargeError: the content has too many bytes.
            StoreError: it cannot be written; nothing was changed.
        """
        self._check_size(step.content)
        with self._database.transaction() as sql:
            row = memory_row(sql, owner, memory)
            parent = version_of(sql, row, step.parent)
            if done := self._replayed(sql, row, parent, step.retry):
                return done
        made = grown(self._hasher, parent, step)
        with self._written(made, step.content), self._database.transaction() as sql:
            row = memory_row(sql, owner, row["id"])
            parent = version_of(sql, row, step.parent)
            if done := self._replayed(sql, row, parent, step.retry):
                return done
            expect_head(row, step.moves)
            check_response(sql, owner, step.response)
            self._insert(sql, owner, row["id"], made)
            if step.moves is not None:
                self._move(sql, row, made["id"])
            if step.retry is not None:
                add_retry(sql, self._database, owner, made["id"], step.retry)
            version = version_value(version_row(sql, owner, made["id"]))
        return Done(version, step.result, replayed=False)

    def _replayed(
        self,
        sql: sqlite3.Connection,
        memory: sqlite3.Row,
        parent: sqlite3.Row,
        retry: Retry | None,
    ) -> Done | None:
        row = find_retry(sql, self._database, memory, parent, retry, self._clock())
        if row is None:
            return None
        return Done(version_value(row), unpack(self._blobs.read(row["record"]))[1], replayed=True)

    @contextmanager
    def _written(self, made: dict[str, Any], content: bytes) -> Iterator[None]:
        """Write the files of a version to be, which then says their names."""
        with self._blobs.written(content, made["record"]) as (made["blob"], made["record"]):
            yield

    def _insert(
        self, sql: sqlite3.Connection, owner: str, memory: str, made: dict[str, Any]
    ) -> None:
        """Add a version, and the event that it is."""
        whose = {"owner": owner, "memory": memory, "created": self._clock()}
        insert(sql, "versions", made | whose | placed(sql, made["id"], made["parent"]))
        self._note(sql, memory, made["kind"], made["id"], made["about"])

    def _note(
        self, sql: sqlite3.Connection, memory: str, kind: str, version: str, about: str = "{}"
    ) -> None:
        event = {"memory": memory, "kind": kind, "version": version, "about": about}
        insert(sql, "events", event | {"created": self._clock()})

    def _move(self, sql: sqlite3.Connection, memory: sqlite3.Row, head: str) -> None:
        sql.execute("UPDATE memories SET head = ? WHERE id = ?", (head, memory["id"]))

    def _check_size(self, content: bytes) -> None:
        if len(content) > self._most:
            raise TooLargeError(
                f"a memory of {len(content):,} bytes is larger than the {self._most:,} that are "
                "allowed here. Reset it, or ask for more room."
            )
