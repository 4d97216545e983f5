"""Files that a command writes: checked before the work, renamed into place after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sparsemeta.errors import ConfigError


def require_writable(path: Path) -> None:
    """Create the folder of a file and try to write there; what stands at the path stays.

    Raises:
        ConfigError: it cannot be written.
    """
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder. Name a file in it.")
    aside = _aside(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside.touch()
        aside.unlink()


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


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Yield a file name to write to, then rename it to `path`; a failure leaves `path` as it was.

    Raises:
        ConfigError: it cannot be written.
    """
    aside = _aside(path)
    try:
        with _explained(path):
            yield aside
            aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    """Hidden, beside the path, and with its suffix, which may decide the format."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror}). Choose another."
        ) from None
