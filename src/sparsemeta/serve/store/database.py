"""One folder, one process, one connection: SQLite beside a secret and a lock.

The SQLite that many a Python brings (before 3.51.3) can damage a database in WAL mode that two
connections write, so there is never a second: the lock keeps other processes out, a mutex threads.
"""

import hmac
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from sparsemeta.errors import StoreError
from sparsemeta.files import write_file

VERSION = 1
ERASED = "erased"
"""Of facts: something was deleted, and copies of it may still be in the database."""
LARGE = 2**26
"""Bytes of a database that is not scrubbed while it serves: that takes a second or more."""
SCHEMA = f"""
BEGIN;
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE keys (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    mac TEXT NOT NULL UNIQUE,
    created REAL NOT NULL,
    revoked REAL
);
CREATE TABLE memories (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    name TEXT,
    conversation INTEGER NOT NULL,
    created REAL NOT NULL,
    head TEXT NOT NULL REFERENCES versions (id) DEFERRABLE INITIALLY DEFERRED,
    origin TEXT NOT NULL REFERENCES versions (id) DEFERRABLE INITIALLY DEFERRED,
    UNIQUE (owner, name)
);
CREATE INDEX memory_head ON memories (head);
CREATE INDEX memory_origin ON memories (origin);
CREATE TABLE versions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    memory TEXT REFERENCES memories (id) ON DELETE SET NULL,
    parent TEXT REFERENCES versions (id),
    base TEXT NOT NULL,
    depth INTEGER NOT NULL,
    jump TEXT NOT NULL,
    kind TEXT NOT NULL,
    mode TEXT NOT NULL,
    created REAL NOT NULL,
    blob TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    record TEXT NOT NULL,
    tokens INTEGER NOT NULL,
    position INTEGER NOT NULL,
    ledger INTEGER NOT NULL,
    hash TEXT NOT NULL,
    response TEXT,
    about TEXT NOT NULL,
    UNIQUE (owner, response)
);
CREATE INDEX version_memory ON versions (memory);
CREATE INDEX version_parent ON versions (parent);
CREATE INDEX version_ledger ON versions (base, ledger, hash);
CREATE INDEX version_blob ON versions (blob);
CREATE INDEX version_record ON versions (record);
CREATE TABLE retries (
    version TEXT NOT NULL REFERENCES versions (id) ON DELETE CASCADE,
    owner TEXT NOT NULL,
    key TEXT,
    body TEXT NOT NULL,
    UNIQUE (owner, key)
);
CREATE INDEX retry_version ON retries (version);
CREATE INDEX retry_body ON retries (owner, body);
CREATE TABLE events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    memory TEXT NOT NULL REFERENCES memories (id) ON DELETE CASCADE,
    kind TEXT NOT NULL,
    created REAL NOT NULL,
    version TEXT NOT NULL,
    about TEXT NOT NULL
);
CREATE INDEX event_memory ON events (memory);
PRAGMA user_version = {VERSION};
COMMIT;
"""
"""`seq` grows from parent to child; `origin` is where a memory began; `mode` is `Step.ledger`."""

SETTINGS = (
    "locking_mode = EXCLUSIVE",  # no other connection, not even one that only looks
    "journal_mode = WAL",
    "synchronous = FULL",
    "secure_delete = ON",
    "temp_store = MEMORY",  # what VACUUM sorts is in no file
    "foreign_keys = ON",
)


class Database:
    """The database of a store, while it is open.

    Args:
        folder: of the store; it is created, for this user alone, if there is none.

    Attributes:
        lock: whoever holds it sees the database, and the files beside it, stand still.

    Raises:
        StoreError: it is open elsewhere, or damaged.
    """

    def __init__(self, folder: Path):
        self.folder, self.lock = folder, threading.RLock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = FileLock(folder / "lock", blocking=False, mode=0o600)
            self._file.acquire()
        except Timeout:
            raise StoreError(
                f"{folder}: this store is open in another process, most likely a server. Stop that "
                "first, or name another store."
            ) from None
        except OSError as error:
            raise self._unusable(error) from None
        try:
            self._connection = sqlite3.connect(
                folder / "store.db", isolation_level=None, check_same_thread=False
            )
            self._connection.row_factory = sqlite3.Row
            try:
                self._prepare()
            except BaseException:
                self._connection.close()
                raise
        except (sqlite3.Error, OSError) as error:
            self._file.release()
            raise self._unusable(error) from None
        except BaseException:
            self._file.release()
            raise

    def _prepare(self) -> None:
        for setting in SETTINGS:
            self._connection.execute(f"PRAGMA {setting}")
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._connection.executescript(SCHEMA)
        elif version != VERSION:
            raise StoreError(
                f"{self.folder}: a store of another version of sparsemeta (format {version}, "
                f"expected {VERSION})."
            )
        path = self.folder / "secret"
        if self.fact("secret") is None and not path.exists():
            with write_file(path) as aside:
                aside.touch(mode=0o600)
                aside.write_bytes(secrets.token_bytes(32))
        self._secret = path.read_bytes() if path.exists() else b""
        if self.settle("secret", self.mac("secret")) != self.mac("secret"):
            raise StoreError(
                f"{path}: is not the secret of this store, so that no key would be known. Put it "
                "back from a copy."
            )
        if self.fact(ERASED) is not None:
            self._scrub()

    def mac(self, purpose: str, data: bytes = b"") -> str:
        """What only who knows the secret can compute from some data: HMAC-SHA256, hex."""
        return hmac.digest(self._secret, f"{purpose}\n".encode() + data, "sha256").hex()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of a block or nothing; at its end, what it wrote is on the disk.

        Raises:
            StoreError: it cannot be written, or is closed; nothing was changed.
        """
        with self.lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException as error:
                with suppress(sqlite3.Error):
                    self._connection.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise self._unusable(error) from None
                raise

    def fact(self, name: str) -> str | None:
        """What was settled under a name."""
        found = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,))
        return next((value for (value,) in found), None)

    def settle(self, name: str, value: str) -> str:
        """Settle what is not settled yet; what it is then."""
        with self.transaction() as sql:
            sql.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, value))
        return self.fact(name) or ""

    def erased(self) -> None:
        """Something was deleted: leave nothing of it in any file.

        `secure_delete` alone does not: copies of rows stay where pages were split. But everybody
        waits for a scrub, so that of a large database is put off until it is closed, or opened if
        a kill comes first; what is in it are names and numbers, and no text that was read.
        """
        with self.lock:
            if (self.folder / "store.db").stat().st_size <= LARGE:
                self._scrub()
            else:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let others open it."""
        with self.lock:
            try:
                with suppress(sqlite3.ProgrammingError):  # it was closed before
                    if self.fact(ERASED) is not None:
                        self._scrub()
            finally:
                self._connection.close()
                self._file.release()

    def _scrub(self) -> None:
        try:
            self._connection.execute("VACUUM")
            self._connection.execute("DELETE FROM facts WHERE name = ?", (ERASED,))
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> StoreError:
        return StoreError(
            f"{self.folder}: this store cannot be used ({error}). Nothing was changed. Make room, "
            "or restore the folder from a copy."
        )
