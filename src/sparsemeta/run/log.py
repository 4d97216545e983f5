"""Logs of numbers, one record a step: JSON lines, and TensorBoard's."""

import json
from pathlib import Path
from typing import Any, Self

from sparsemeta.errors import MissingExtra, TrainingError
from sparsemeta.files import write_text


class JsonlLog:
    """An append-only log, one JSON object a line, each with its `step`.

    Args:
        path: the file.
        step: the step that training goes on from; lines past it are dropped.
    """

    def __init__(self, path: Path, *, step: int = 0):
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                kept += [line + "\n"] if json.loads(line)["step"] <= step else []
            except ValueError:  # cut off by a kill
                continue
        write_text(path, "".join(kept))
        self._path, self._file = path, path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append a record.

        Raises:
            TrainingError: the file cannot be written; the disk may be full.
        """
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise TrainingError(
                f"{self._path}: cannot be written ({error.strerror}), so training stopped. Make "
                "room and run the same command to go on from the last checkpoint."
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class TensorBoardLog:
    """The same records as curves for TensorBoard.

    Args:
        folder: of its event files.
        step: the step that training goes on from; what is past it is no longer shown.

    Raises:
        MissingExtra: tensorboard is not installed.
    """

    def __init__(self, folder: Path, *, step: int = 0):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtra("tensorboard", "tensorboard") from None
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, record: dict[str, Any]) -> None:
        """Append a record; a number in a group is named group/number."""
        for name, value in record.items():
            group = value if isinstance(value, dict) else {"": value}
            for part, number in group.items():
                if name != "step" and number is not None:
                    self._writer.add_scalar(f"{name}/{part}".rstrip("/"), number, record["step"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
