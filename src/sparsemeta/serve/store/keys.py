"""Who may use a store: keys of 256 random bits, of which an HMAC is kept."""

import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hmac import compare_digest
from pathlib import Path

from sparsemeta.errors import NotFoundError, StoreError, require
from sparsemeta.serve.store.database import Database
from sparsemeta.serve.store.rows import insert
from sparsemeta.serve.store.steps import name_of
from sparsemeta.serve.store.types import Key

PREFIX = "sparsemeta-"
"""Of secrets, by which one is recognised where it should not be."""


class Keys:
    """The keys of one store, which is open."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self._database, self._clock = database, clock

    def add(self, owner: str) -> tuple[Key, str]:
        """A new key for an owner, who may have others, with its secret: it is shown this once.

        Raises:
            ConfigError: it cannot be the name of an owner.
        """
        require(
            0 < len(owner) <= 200 and owner.isprintable(),
            f"an owner cannot be called {owner!r}: choose up to 200 printable characters.",
        )
        secret = PREFIX + secrets.token_urlsafe(32)
        row = {"id": name_of("key"), "owner": owner, "created": self._clock(), "revoked": None}
        with self._database.transaction() as sql:
            insert(sql, "keys", row | {"mac": self._mac(secret)})
        return Key(**row), secret

    def list(self) -> list[Key]:
        """All keys, also those that were revoked, oldest first."""
        with self._database.transaction() as sql:
            return [_key(row) for row in sql.execute("SELECT * FROM keys ORDER BY seq")]

    def revoke(self, key: str) -> Key:
        """Refuse a key from now on, by its id; the owner's memories stay.

        Raises:
            NotFoundError: there is no such key.
        """
        with self._database.transaction() as sql:
            query = "UPDATE keys SET revoked = coalesce(revoked, ?) WHERE id = ? RETURNING *"
            row = sql.execute(query, (self._clock(), key)).fetchone()
        if row is None:
            raise NotFoundError(f"no key {key!r}: see `sparsemeta serve keys list`.")
        return _key(row)

    def owner(self, secret: str) -> str | None:
        """Whose key this is; None if it is nobody's, or revoked."""
        mac = self._mac(secret)
        with self._database.transaction() as sql:
            row = sql.execute("SELECT * FROM keys WHERE mac = ?", (mac,)).fetchone()
        if row is None or not compare_digest(row["mac"], mac) or row["revoked"] is not None:
            return None
        return row["owner"]

    def _mac(self, secret: str) -> str:
        return self._database.mac("api key", secret.encode("utf-8", "replace"))


@contextmanager
def open_keys(folder: str | Path, *, create: bool = False) -> Iterator[Keys]:
    """The keys of a store that nobody serves, without its model.

    Args:
        folder: of the store.
        create: make one, if there is none.

    Raises:
        StoreError: there is none, it is being served, or damaged.
    """
    if not create and not (Path(folder) / "store.db").is_file():
        raise StoreError(f"{folder}: no store. `sparsemeta serve keys add` makes one.")
    database = Database(Path(folder))
    try:
        yield Keys(database)
    finally:
        database.close()


def _key(row: sqlite3.Row) -> Key:
    return Key(row["id"], row["owner"], row["created"], row["revoked"])
