"""How it goes: a bar on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress as Bar, TextColumn


class Progress:
    """A bar on a terminal; elsewhere a plain line now and then; nothing at all when quiet.

    Args:
        quiet: show nothing.
        stream: where to, standard error if None.
        every: seconds between plain lines.
    """

    def __init__(self, *, quiet: bool = False, stream: TextIO | None = None, every: float = 10.0):
        self._console = Console(
            file=stream, stderr=True, quiet=quiet, highlight=False, markup=False, soft_wrap=True
        )
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
