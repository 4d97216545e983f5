"""What a command found, printed and written where it was asked for; a memory, by one process."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsemeta.errors import ConfigError
from sparsemeta.files import require_writable, writable, write_file, write_text
from sparsemeta.plotting import require_plotting


@dataclass(frozen=True)
class Delivery:
    """Where a command's findings go; made before the work, so that a bad path costs none."""

    json: Path | None  # for all numbers
    plot: Path | None = None  # for the figure
    extra: str = ""  # the extra of sparsemeta that brings matplotlib there

    def __post_init__(self) -> None:
        if self.plot:
            require_plotting(self.plot, self.extra)
        for path in self.files:
            require_writable(path)

    @property
    def files(self) -> list[Path]:
        """What is asked for besides what is printed."""
        return [path for path in (self.json, self.plot) if path]

    def deliver(
        self,
        *shown: Any,
        data: Callable[[], Any],
        draw: Callable[[Path], None] | None = None,
        width: int = 140,
    ) -> None:
        """Print tables and texts, `width` characters where there is no terminal; then write."""
        from rich.console import Console

        console = Console(highlight=False, markup=False)
        if not console.is_terminal:
            console.width = width
        for part in shown:
            console.print(part, soft_wrap=isinstance(part, str))
        if self.json:
            with writable(self.json):
                write_text(self.json, json.dumps(data(), indent=2, allow_nan=False) + "\n")
        if self.plot and draw:
            with writable(self.plot), write_file(self.plot) as aside:
                draw(aside)


@contextmanager
def claim(path: Path, *, updates: Path | None = None, overwrite: bool = False) -> Iterator[None]:
    """Keep other processes from writing a memory that this one is to write later.

    The lock, a hidden file beside it, ends with the process, however that ends. A file that stands
    there is an error unless the memory goes on from it (`updates`), or it may be overwritten.
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
