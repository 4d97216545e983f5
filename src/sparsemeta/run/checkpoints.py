"""Checkpoints numbered by step, in one folder."""

from __future__ import annotations

import re
import shutil
from pathlib import Path


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
        folder: of the checkpoints; one process at a time may write it.
        keep: how many.
        spare: one that is kept however old it is.
    """
    complete = step_folders(folder)
    for path in complete[: max(0, len(complete) - keep)]:
        if path != spare:
            # Renamed first: a kill while it is being deleted must not leave half a checkpoint.
            path.rename(path.with_name(f".{path.name}.0-deleted.part"))
    for leftover in folder.glob(".step-*.part"):
        shutil.rmtree(leftover, ignore_errors=True)
