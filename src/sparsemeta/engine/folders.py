"""Folders that a kill never leaves half-written, and checkpoints numbered by step."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Write a folder aside, then rename it into place.

    A kill at any moment leaves at `path` the old folder or the new one, never half of either; what
    it leaves beside it is removed by the next `write_folder` of the same path or by `prune`.

    Yields:
        An empty folder to fill. If the block raises, it is removed and `path` is as it was.
    """
    settle(path)
    part, old = _aside(path, "part"), _aside(path, "old")
    for leftover in (part, old):
        shutil.rmtree(leftover, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        for item in (*part.rglob("*"), part):
            _sync(item)
        if path.exists():
            path.rename(old)
        part.rename(path)
        _sync(path.parent)
    finally:
        settle(path)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def settle(path: Path) -> None:
    """Bring the old folder back if a kill fell between the two renames of `write_folder`."""
    old = _aside(path, "old")
    if old.exists() and not path.exists():
        old.rename(path)


def step_folders(folder: Path) -> list[Path]:
    """The complete checkpoints `step-N` in a folder, oldest first."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and re.fullmatch(r"step-\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint in a folder, if there is one."""
    return next(reversed(step_folders(folder)), None)


def prune(folder: Path, keep: int, spare: Path | None = None) -> None:
    """Delete all but the newest `keep` checkpoints, and what killed processes left half-written.

    Args:
        folder: of the checkpoints.
        keep: how many.
        spare: one that is kept however old it is.
    """
    complete = step_folders(folder)
    for path in complete[: max(0, len(complete) - keep)]:
        if path != spare:
            # Renamed first: a kill while it is being deleted must not leave half a checkpoint.
            path.rename(_aside(path, "part"))
    for leftover in folder.glob(".step-*.part"):
        shutil.rmtree(leftover, ignore_errors=True)


def _aside(path: Path, suffix: str) -> Path:
    return path.with_name(f".{path.name}.{suffix}")


def _sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
