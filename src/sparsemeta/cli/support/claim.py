"""One process at a time may write a memory."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsemeta.errors import ConfigError
from sparsemeta.files import require_writable


@contextmanager
def claim(path: Path, *, updates: Path | None = None, overwrite: bool = False) -> Iterator[None]:
    """Keep other processes from writing a memory that this one is to write later.

    The lock, a hidden file beside it, ends with the process, however that ends.

    Args:
        path: the file; it can be written, and its folder is made.
        updates: the memory it goes on from, which may be the same file.
        overwrite: whether another file may stand there.

    Raises:
        ConfigError: another process has claimed it, it exists, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    require_writable(path)
    try:
        with FileLock(path.with_name(f".{path.name}.lock"), blocking=False):
            updated = updates is not None and updates.resolve() == path.resolve()
            if path.exists() and not (updated or overwrite):
                raise ConfigError(
                    f"{path}: exists already. To read on from it: --memory {path}. To lose it: "
                    "--overwrite. To keep it: another --out."
                )
            yield
    except Timeout:
        raise ConfigError(
            f"{path}: another process is about to write it. Wait until it is done, or name "
            "another file with --out."
        ) from None
