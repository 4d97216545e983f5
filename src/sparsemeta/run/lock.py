"""One process at a time in a folder."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from sparsemeta.errors import ConfigError, TrainingError
from sparsemeta.files import write_text


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if it is not there.

    The system lets go of the lock when the process ends, however it ends.

    Raises:
        TrainingError: another process is in it.
        ConfigError: the folder cannot be written.
    """
    lock, owner = FileLock(folder / ".lock"), folder / ".lock.pid"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(blocking=False)
        write_text(owner, f"{os.getpid()}\n")
    except Timeout:
        pid = owner.read_text().strip() if owner.exists() else "unknown"
        raise TrainingError(
            f"{folder}: process {pid} is training there. Wait until it is done, stop it, or choose "
            "another --run."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot be written ({error.strerror}). Choose another --run."
        ) from None
    try:
        yield
    finally:
        lock.release()
