"""How files and folders are written: aside, synced, then put in place in one step.

A kill at any moment leaves what was there before or what is new, never half of either. The name
aside is the writer's own, also among threads; what a killed process left is removed by the next.
"""

import errno
import glob
import hashlib
import json
import os
import platform
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sparsemeta.errors import CheckpointError, ConfigError

DIGESTS = "digests.json"
"""In a folder: the SHA-256 of every other file of it."""

_HOST = hashlib.sha256(platform.node().encode()).hexdigest()[:6]
"""Of this machine or container: on a disk that several share, a process number tells nothing."""


@contextmanager
def write_file(path: Path) -> Iterator[Path]:
    """Write a file: yields a name to write to, which has the same suffix.

    Where it cannot be written, what stood at `path` stands there still.
    """
    _sweep(path)
    aside = _aside(path)
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    finally:
        aside.unlink(missing_ok=True)


def write_new(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files that are named by what they hold; one that is there already is left as it is.

    What a killed process leaves half-written is not looked for: in a folder of very many files,
    its owner does that when it begins.
    """
    for name, data in contents.items():
        path = folder / name
        if not path.exists():
            aside = _aside(path)
            try:
                aside.write_bytes(data)
                sync(aside)
                aside.replace(path)
            finally:
                aside.unlink(missing_ok=True)
    sync(folder)


def write_text(path: Path, text: str) -> None:
    """Write a text as UTF-8."""
    with write_file(path) as aside:
        aside.write_text(text, encoding="utf-8")


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Write a folder, with the digests of its files: yields an empty folder to fill.

    If the block raises, it is removed and `path` is as it was.
    """
    old = settle(path)
    _sweep(path)
    aside = _aside(path)
    shutil.rmtree(old, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        (aside / DIGESTS).write_text(json.dumps(_digests(aside), indent=2) + "\n")
        for item in (*aside.rglob("*"), aside):
            sync(item)
        if path.exists():
            path.rename(old)
        aside.rename(path)
        sync(path.parent)
    finally:
        settle(path)
        shutil.rmtree(aside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def settle(path: Path) -> Path:
    """Bring the old folder back if a kill fell between the two renames of `write_folder`.

    Returns where the old one is put aside.
    """
    old = path.with_name(f".{path.name}.old")
    if old.exists() and not path.exists():
        old.rename(path)
    return old


def check_folder(path: Path) -> None:
    """Check that a folder is what `write_folder` wrote; one without digests is taken as it is.

    Raises:
        CheckpointError: a file is missing, or is not what was saved.
    """
    try:
        saved = dict(json.loads((path / DIGESTS).read_text()))
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{path / DIGESTS}: cannot be used ({error}).") from None
    found = _digests(path)
    for name, digest in saved.items():
        if found.get(name) != digest:
            what = "is not what was saved" if name in found else "is missing"
            raise CheckpointError(
                f"{path / name}: {what} (its SHA-256 differs from {DIGESTS}). Put the folder back "
                "from a copy, or train the model again."
            )


def require_writable(path: Path) -> None:
    """Create the folder of a file and try to write there; what stands at the path stays."""
    if path.is_dir():
        raise ConfigError(f"{path}: is a folder. Name a file in it.")
    with writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = _aside(path)
        aside.touch()
        aside.unlink()


@contextmanager
def writable(path: Path) -> Iterator[None]:
    """Turn an `OSError` of this block into a `ConfigError` about a path that somebody chose."""
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be written ({error.strerror or error}). Choose another."
        ) from None


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:  # some file systems sync no folders
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)


def _aside(path: Path) -> Path:
    """Hidden, beside the path, and with its suffix, which may decide the format."""
    writer = f"{_HOST}.{os.getpid()}-{uuid.uuid4().hex[:8]}"
    return path.with_name(f".{path.stem}.{writer}.part{path.suffix}")


def _sweep(path: Path) -> None:
    """Remove what processes of this machine that are no more left half-written beside a path."""
    ours = f".{path.stem}.{_HOST}."
    for left in path.parent.glob(f"{glob.escape(ours)}*-*.part{path.suffix}"):
        owner = left.name.removeprefix(ours).partition("-")[0]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True


def _digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file of a folder but that of the digests, by its relative path."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name != DIGESTS
    }
