"""`Store`: the memories of all owners, in one folder, for one process."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from sparsemeta.errors import ConflictError, NotFoundError, StateError, StoreError
from sparsemeta.fast_weights import Blueprint, FastWeights, Origin
from sparsemeta.serve.store.blobs import Blobs
from sparsemeta.serve.store.database import ERASED, Database
from sparsemeta.serve.store.growing import Growing
from sparsemeta.serve.store.keys import Keys
from sparsemeta.serve.store.ledgers import Hasher
from sparsemeta.serve.store.lineage import common, version_of
from sparsemeta.serve.store.rows import (
    UNUSED,
    memory_row,
    memory_value,
    version_row,
)
from sparsemeta.serve.store.steps import expect_head
from sparsemeta.serve.store.types import Kind, Memory, Step

DEFAULT = "default"
"""The name of the memory of requests that name none."""
MOST_TOLD = 500
"""Characters of what is wrong with an upload, which may quote it."""


class Store(Growing):
    """The memories of all owners of one model.

    Every method may be called from any thread; what it did is on the disk when it returns.

    Args:
        folder: of the store; it is created, for this user alone, if there is none.
        blueprint: what the memories of the served model look like.
        most: bytes that one memory file may have.
        clock: seconds since 1970.

    Attributes:
        keys: who may use it.

    Raises:
        StoreError: it is open elsewhere, of another model, or damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        blueprint: Blueprint,
        *,
        most: int = 2**28,
        clock: Callable[[], float] = time.time,
    ):
        self._most, self._clock, self._blueprint = most, clock, blueprint
        self._database = Database(Path(folder))
        try:
            if self._database.settle("model", blueprint.fingerprint) != blueprint.fingerprint:
                raise StoreError(
                    f"{folder}: the memories of this store are another model's. Serve that, or "
                    "name another store."
                )
            self._blobs = Blobs(self._database)
            self._hasher = Hasher(self._database.mac("ledger"))
            self.keys = Keys(self._database, clock)
        except BaseException:
            self._database.close()
            raise
        empty = FastWeights(blueprint.layers)
        self._empty = empty.encode(Origin(blueprint.fingerprint))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let others open it; a store that was not closed loses nothing."""
        self._database.close()

    def default(self, owner: str) -> Memory:
        """The memory of requests that name none; made, and empty, when it is first asked for."""
        with self._database.lock:
            try:
                return self.memory(owner, DEFAULT)
            except NotFoundError:
                return self.create(owner, DEFAULT)

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
        with self._database.transaction() as sql:
            row = memory_row(sql, owner, memory)
            expect_head(row, expect)
            to = to or version_row(sql, owner, row["head"])["parent"]
            if to is None:
                raise ConflictError("nothing is left to undo: this is the first version.")
            self._move(sql, row, version_of(sql, row, to)["id"])
            self._note(sql, row["id"], "undo", to)
            return memory_value(sql, memory_row(sql, owner, row["id"]))

    def reset(self, owner: str, memory: str, *, expect: str | None = None) -> Memory:
        """Move the head to a new version which is empty; its parent is where the head was.

        Raises:
            NotFoundError: the owner has no such memory.
            ConflictError: the head is elsewhere.
        """
        return self._replace(owner, memory, self._empty, "reset", expect)

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
        self._check_size(content)
        self.memory(owner, memory)
        with self._blobs.written(content) as (name,):
            path = self._blobs.path(name)
            try:
                FastWeights.load(path, self._blueprint)
            except StateError as error:
                told = str(error).replace(str(path), "the upload")
                raise StateError(told[:MOST_TOLD]) from None
            return self._replace(owner, memory, content, "upload", expect)

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
        with self._database.transaction() as sql:
            row = memory_row(sql, owner, memory)
            expect_head(row, expect)
            mine, theirs = (
                version_row(sql, owner, head)
                for head in (row["head"], memory_row(sql, owner, other)["head"])
            )
            base = common(sql, mine, theirs)
        file = self._blobs.path
        content = combine(
            file(mine["blob"]), file(theirs["blob"]), file(base["blob"]) if base else None
        )
        step = Step(row["head"], content, kind="merge", ledger="keep", moves=row["head"])
        self.commit(owner, row["id"], step)
        return self.memory(owner, row["id"])

    def delete(self, owner: str, memory: str) -> None:
        """Erase a memory and all its versions that no other memory has.

        When this returns, what they held and had read is in no file of the store. Names and numbers
        are not either, unless the database has more than 64 MiB: then until it is closed.

        Raises:
            NotFoundError: the owner has no such memory.
        """
        with self._database.lock:
            with self._database.transaction() as sql:
                row = memory_row(sql, owner, memory)
                sql.execute("DELETE FROM memories WHERE id = ?", (row["id"],))
                unused = sql.execute(UNUSED, {"owner": owner}).fetchall()
                gone = [(found["id"],) for found in unused]
                sql.executemany("DELETE FROM versions WHERE id = ?", gone)
                sql.execute("INSERT OR REPLACE INTO facts VALUES (?, '')", (ERASED,))
            self._blobs.discard(*(found[name] for found in unused for name in ("blob", "record")))
            self._database.erased()

    def _replace(
        self, owner: str, memory: str, content: bytes, kind: Kind, expect: str | None
    ) -> Memory:
        """Move the head to a new version that did not grow out of where it is."""
        with self._database.lock:
            head = self.memory(owner, memory).head.id
            step = Step(head, content, kind=kind, ledger="begin", moves=expect or head)
            self.commit(owner, memory, step)
            return self.memory(owner, memory)
