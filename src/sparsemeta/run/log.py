"""How a run goes: a record of every step in files, a bar or lines on the terminal."""

import json
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn

from sparsemeta.errors import MissingExtra, TrainingError
from sparsemeta.files import write_text


class JsonlLog(AbstractContextManager["JsonlLog"]):
    """An append-only log, one JSON object with its `step` a line; lines past `step` are dropped."""

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
        """Append a record; a TrainingError says so if the disk is full."""
        try:
            self._file.write(json.dumps(record) + "\n")
            self._file.flush()
        except OSError as error:
            raise TrainingError(
                f"{self._path}: cannot be written ({error.strerror}), so training stopped. Make "
                "room and run the same command to go on from the last checkpoint."
            ) from None

    def __exit__(self, *_: object) -> None:
        self._file.close()


class TensorBoardLog(AbstractContextManager["TensorBoardLog"]):
    """The same records as curves for TensorBoard, if it is installed; arguments as `JsonlLog`."""

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

    def __exit__(self, *_: object) -> None:
        self._writer.close()


class Progress:
    """A bar on a terminal; elsewhere a plain line now and then; nothing at all when quiet.

    The `stream` is standard error if None; `every` is seconds between plain lines.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None, every: float = 10.0):
        plain: Any = {"highlight": False, "markup": False, "soft_wrap": True}
        self._console = Console(file=stream, stderr=True, quiet=quiet, **plain)
        self._every = every

    def message(self, text: str) -> None:
        """Print a line."""
        self._console.print(text)

    @contextmanager
    def track(self, step: int, total: int) -> Iterator[None]:
        """Follow the steps from `step` to `total`; call `advance`, `update` or `show` inside."""
        self._first, self._total, self._tokens = step, total, 0
        self._began = self._printed = time.monotonic()
        bar, status = BarColumn(), TextColumn("{task.description}", markup=False)
        terminal = self._console.is_terminal and not self._console.quiet
        with Bar(bar, status, console=self._console, disable=not terminal) as self._bar:
            self._task = self._bar.add_task("", total=total, completed=step)
            yield

    def update(self, step: int, loss: float, tokens: int) -> None:
        """Show that `step` is done, with its loss and how many tokens it read."""
        self._tokens += tokens
        speed = self._tokens / max(time.monotonic() - self._began, 1e-9)
        self.advance(step, f"loss {loss:.3f}  {speed:,.0f} tokens/s")

    def advance(self, step: int, status: str) -> None:
        """Show that `step` is done, how it went, and how long the others will take."""
        elapsed = time.monotonic() - self._began
        left = timedelta(seconds=round(elapsed / (step - self._first) * (self._total - step)))
        self.show(step, f"step {step}/{self._total}  {status}  {left} left")

    def show(self, step: int, status: str) -> None:
        """Show that `step` is done, in words of your own."""
        now = time.monotonic()
        self._bar.update(self._task, completed=step, description=status)
        if self._bar.disable and (now - self._printed >= self._every or step == self._total):
            self._printed = now
            self.message(status)
