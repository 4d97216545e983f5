"""What a command found: printed, and written where it was asked for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparsemeta.files import require_writable, writable, write_file, write_text
from sparsemeta.plotting import require_plotting


@dataclass(frozen=True)
class Delivery:
    """Where a command's findings go; made before the work, so that a bad path costs none.

    Args:
        json: a file for all numbers, or None.
        plot: a file for the figure, or None.
        extra: the extra of sparsemeta that brings matplotlib there.

    Raises:
        ConfigError: a file cannot be written, or the plot's name does not end like a picture.
        MissingExtra: matplotlib is not installed.
    """

    json: Path | None
    plot: Path | None = None
    extra: str = ""

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
        """Print, then write.

        Args:
            shown: tables and texts, in this order.
            data: makes what the JSON file holds.
            draw: draws the figure into a file.
            width: of tables where standard output is no terminal, in characters.
        """
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
