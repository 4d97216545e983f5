"""`Views`: what can be asked of a store; nothing here changes it."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from sparsemeta.serve.store.blobs import Blobs
from sparsemeta.serve.store.database import Database
from sparsemeta.serve.store.ledgers import Hasher, unpack
from sparsemeta.serve.store.lineage import is_before, since_base, versions_of
from sparsemeta.serve.store.rows import (
    event_value,
    memory_row,
    memory_value,
    page,
    version_row,
    version_value,
)
from sparsemeta.serve.store.types import Event, Match, Memory, Page, Usage, Version


class Views:
    """What a store holds, told to its owners.

    Every method may be called from any thread. What is another owner's does not exist:
    `NotFoundError` says the same of both. A memory is named by its id or by its name.
    """

    _database: Database
    _blobs: Blobs
    _hasher: Hasher

    def memory(self, owner: str, memory: str) -> Memory:
        """A memory, by its id or its name.

        Raises:
            NotFoundError: the owner has none such.
        """
        with self._database.transaction() as sql:
            return memory_value(sql, memory_row(sql, owner, memory))

    def memories(
        self, owner: str, *, conversations: bool = False, after: str | None = None, limit: int = 20
    ) -> Page[Memory]:
        """An owner's memories, or conversations, newest first, those after an id of the list.

        Raises:
            NotFoundError: there is no memory `after`.
        """
        query = """
            SELECT * FROM memories WHERE owner = ? AND conversation = ? AND seq < ?
            ORDER BY seq DESC LIMIT ?
        """
        with self._database.transaction() as sql:
            before = memory_row(sql, owner, after)["seq"] if after else 2**63 - 1
            found = sql.execute(query, (owner, conversations, before, limit + 1)).fetchall()
            return page([memory_value(sql, row) for row in found], limit)

    def version(self, owner: str, version: str) -> Version:
        """A version, by its id.

        Raises:
            NotFoundError: the owner has none such.
        """
        with self._database.transaction() as sql:
            return version_value(version_row(sql, owner, version))

    def response(self, owner: str, response: str) -> Version:
        """The version of an answer, by the name that its step gave it.

        Raises:
            NotFoundError: the owner has none such.
        """
        with self._database.transaction() as sql:
            return version_value(version_row(sql, owner, response, by="response"))

    def versions(
        self, owner: str, memory: str, *, after: str | None = None, limit: int = 20
    ) -> Page[Version]:
        """All that a memory was, on every branch, newest first; for a fork, also before it was one.

        Raises:
            NotFoundError: there is no such memory, or no version `after`.
        """
        with self._database.transaction() as sql:
            row = memory_row(sql, owner, memory)
            found = versions_of(sql, row, after, limit + 1)
        return page([version_value(row) for row in found], limit)

    def events(self, owner: str, memory: str, *, after: int = 0, limit: int = 100) -> Page[Event]:
        """What happened to a memory, oldest first, those of a higher number than `after`.

        Raises:
            NotFoundError: the owner has no such memory.
        """
        query = "SELECT * FROM events WHERE memory = ? AND number > ? ORDER BY number LIMIT ?"
        with self._database.transaction() as sql:
            memory = memory_row(sql, owner, memory)["id"]
            found = sql.execute(query, (memory, after, limit + 1)).fetchall()
        return page([event_value(row) for row in found], limit)

    def usage(self, owner: str) -> Usage:
        """How much an owner has; nothing, for an owner who is not known."""
        with self._database.transaction() as sql:
            query = "SELECT count(*) FROM memories WHERE owner = ?"
            (memories,) = sql.execute(query, (owner,)).fetchone()
            query = """
                SELECT sum(many), coalesce(sum(bytes), 0) FROM (
                    SELECT count(*) AS many, bytes FROM versions WHERE owner = ? GROUP BY blob
                )
            """
            versions, size = sql.execute(query, (owner,)).fetchone()
        return Usage(memories, versions or 0, size)

    def path(self, owner: str, version: str) -> Path:
        """The memory file of a version, for `FastWeights.load(path, blueprint)`; never write to it.

        Raises:
            NotFoundError: the owner has no such version.
        """
        return self._blobs.path(self.version(owner, version).blob)

    def content(self, owner: str, version: str) -> bytes:
        """The memory file of a version, checked against its digest.

        Raises:
            NotFoundError: the owner has no such version.
            StoreError: the file is not what was written.
        """
        return self._blobs.read(self.version(owner, version).blob)

    def tail(self, owner: str, version: str, limit: int) -> list[int]:
        """The last tokens that were read up to a version, at most `limit`, back to its base.

        They are what an attention window is filled with again.

        Raises:
            NotFoundError: the owner has no such version.
        """
        found: list[list[int]] = []
        with self._database.transaction() as sql:
            steps, missing = [], limit
            for row in since_base(sql, version_row(sql, owner, version)):
                if missing <= 0:
                    break
                steps.append(row)
                missing -= row["tokens"]
        found = [self._tokens(row) for row in reversed(steps)]
        return [token for tokens in found for token in tokens][max(0, -missing) :]

    def ledger(self, owner: str, version: str) -> list[int]:
        """All tokens of a version's conversation.

        Raises:
            NotFoundError: the owner has no such version.
        """
        with self._database.transaction() as sql:
            steps = []
            for row in since_base(sql, version_row(sql, owner, version)):
                if row["mode"] != "keep":
                    steps.append(row)
                if row["mode"] == "begin":
                    break
        return [token for row in reversed(steps) for token in self._tokens(row)]

    def match(self, owner: str, memory: str, tokens: Sequence[int]) -> Match | None:
        """The version from which a chat that is sent again goes on, so that it is learned once.

        Of all versions from the head back to its base whose ledger, not an empty one, is a prefix
        of these tokens: the one with the longest ledger, and of several the latest. If it is not
        the head, histories diverge there. None if there is none: a conversation begins.

        Raises:
            NotFoundError: the owner has no such memory.
        """
        query = """
            SELECT * FROM versions WHERE base = ? AND ledger BETWEEN 1 AND ?
            ORDER BY ledger DESC, seq DESC
        """
        with self._database.transaction() as sql:
            head = version_row(sql, owner, memory_row(sql, owner, memory)["head"])
            known = sql.execute(query, (head["base"], len(tokens))).fetchall()
        hashes = dict(self._hasher.prefixes(tokens, sorted({row["ledger"] for row in known})))
        with self._database.transaction() as sql:
            for row in known:
                if row["hash"] == hashes[row["ledger"]] and is_before(sql, row, head["id"]):
                    return Match(version_value(row), row["ledger"])
        return None

    def _tokens(self, row: sqlite3.Row) -> list[int]:
        """What one step read."""
        return unpack(self._blobs.read(row["record"]))[0]
