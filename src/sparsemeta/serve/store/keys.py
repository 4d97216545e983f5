"""Who may use a store: keys of 256 random bits, of which an HMAC is kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsemeta.serve.store.types import Key


class Keys:
    """The keys of one store, which is open."""

    def add(self, owner: str) -> tuple[Key, str]:
        """A new key for an owner, who may have others, with its secret: it is shown this once.

        Raises:
            ConfigError: it cannot be the name of an owner.
        """
        raise NotImplementedError

    def list(self) -> list[Key]:
        """All keys, also those that were revoked, oldest first."""
        raise NotImplementedError

    def revoke(self, key: str) -> Key:
        """Refuse a key from now on, by its id; the owner's memories stay.

        Raises:
            NotFoundError: there is no such key.
        """
        raise NotImplementedError

    def owner(self, secret: str) -> str | None:
        """Whose key this is; None if it is nobody's, or revoked."""
        raise NotImplementedError


@contextmanager
def open_keys(folder: str | Path) -> Iterator[Keys]:
    """The keys of a store that nobody serves, without its model.

    Raises:
        StoreError: the store is being served, or is damaged.
    """
    raise NotImplementedError
    yield
