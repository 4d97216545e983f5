"""Files named by their SHA-256: written once, never changed, removed when nothing names them."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsemeta.errors import StoreError
from sparsemeta.files import sync, write_new
from sparsemeta.serve.store.database import Database

USED = "SELECT EXISTS (SELECT 1 FROM versions WHERE blob = :x OR record = :x)"


class Blobs:
    """The files of a store, some of which its database names; the others are swept."""

    def __init__(self, database: Database):
        self._database, self._held = database, Counter[str]()
        self.folder = database.folder / "blobs"
        self.folder.mkdir(exist_ok=True)
        with database.transaction() as sql:
            named = sql.execute("SELECT blob, record FROM versions")
            known = {name for names in named for name in names}
        for path in self.folder.iterdir():
            if path.name not in known:
                path.unlink()
        sync(self.folder)

    @contextmanager
    def written(self, *contents: bytes) -> Iterator[list[str]]:
        """Write and sync some files; yields their digests, for a transaction to name them.

        Raises:
            StoreError: they cannot be written.
        """
        named = {digest(data): data for data in contents}
        with self._database.lock:
            self._held.update(named.keys())
        try:
            try:
                write_new(self.folder, named)
            except OSError as error:
                raise StoreError(
                    f"{self.folder}: cannot be written ({error.strerror or error}). Nothing was "
                    "changed. Make room."
                ) from None
            yield [digest(data) for data in contents]
        finally:
            with self._database.lock:
                self._held.subtract(named.keys())
                self.discard(*named)

    def discard(self, *digests: str) -> None:
        """Remove those files that no version names, and that nobody is about to name."""
        with self._database.lock, self._database.transaction() as sql:
            for name in digests:
                if self._held[name] <= 0:
                    del self._held[name]
                    (used,) = sql.execute(USED, {"x": name}).fetchone()
                    if not used:
                        self.path(name).unlink(missing_ok=True)

    def path(self, name: str) -> Path:
        """Where a file is."""
        return self.folder / name

    def read(self, name: str) -> bytes:
        """What a file holds.

        Raises:
            StoreError: it is missing, or not what was written.
        """
        try:
            data = self.path(name).read_bytes()
        except OSError:
            data = None
        if data is None or digest(data) != name:
            raise StoreError(
                f"{self.path(name)}: is {'missing' if data is None else 'not what was written'}. "
                "Put it back from a copy, or go back to another version."
            )
        return data


def digest(data: bytes) -> str:
    """The name of a file that holds this."""
    return hashlib.sha256(data).hexdigest()
