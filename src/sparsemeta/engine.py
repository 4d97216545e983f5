"""What training stands on: device and precision, folders that survive a kill, log, progress.

The only file that knows Lightning Fabric. It knows nothing of language models.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TextIO

import torch
from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsemeta.errors import CheckpointError, MissingExtra

Precision = Literal["bf16-mixed", "32-true"]


class Engine:
    """A device, a precision and the optimizer step on them.

    Args:
        precision: bf16-mixed runs the forward pass under autocast; weights stay float32.
        devices: how many; `auto` takes all that the best accelerator of the machine has.
        seed: of torch's random generators.
    """

    def __init__(
        self, *, precision: Precision, devices: int | Literal["auto"] = "auto", seed: int = 0
    ):
        try:
            from lightning_fabric import Fabric
        except ImportError:
            raise MissingExtra("lightning_fabric", "lm") from None
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        self._fabric = Fabric(accelerator="auto", devices=devices, precision=precision)
        self._fabric.launch()
        torch.manual_seed(seed)

    @property
    def device(self) -> torch.device:
        """Where batches belong."""
        return self._fabric.device

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes files."""
        return self._fabric.is_global_zero

    def setup(self, model: nn.Module, optimizer: Optimizer) -> Callable[..., Any]:
        """Move the model to the device and take charge of its optimizer.

        Returns:
            The model's forward pass in this engine's precision: same arguments, same results.
        """
        self._model, self._optimizer = self._fabric.setup(_Sealed(model), optimizer)
        return lambda *args, **options: self._model(_Box((args, options))).content

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of a scalar loss to the parameters."""
        self._fabric.backward(loss)

    def clip_gradients(self, max_norm: float) -> float:
        """Scale the gradient down to `max_norm` and return the L2 norm that it had."""
        norm = self._fabric.clip_gradients(
            self._model, self._optimizer, max_norm=max_norm, error_if_nonfinite=False
        )
        return float(norm)  # type: ignore[arg-type]

    def step(self) -> None:
        """Let the optimizer use the gradients, and forget them."""
        self._optimizer.step()
        self._optimizer.zero_grad()


class _Box:
    """A container that Fabric does not know, and so passes on unopened."""

    def __init__(self, content: Any):
        self.content = content


class _Sealed(nn.Module):
    """Hands a model's arguments and results past Fabric.

    Fabric rebuilds every container it can open to cast the tensors inside. A recurrent state is an
    immutable value with dtypes of its own, which that would break.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, box: _Box) -> _Box:
        args, options = box.content
        return _Box(self.model(*args, **options))


def optimizer_tensors(optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's running statistics as `parameter index.key`; its settings are not in it."""
    state = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, kept in state.items() for key, value in kept.items()}


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned.

    Raises:
        CheckpointError: the tensors belong to other parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, _, key = name.partition(".")
        expected = parameters[int(index)].shape if int(index) < len(parameters) else None
        if value.ndim > 0 and value.shape != expected:
            raise CheckpointError(
                f"the optimizer's {name} has shape {tuple(value.shape)}, but this model needs "
                f"{tuple(expected or ())}. Put back the files that were saved together."
            )
        state.setdefault(int(index), {})[key] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


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


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints, and what killed processes left half-written."""
    complete = step_folders(folder)
    for path in complete[: max(0, len(complete) - keep)]:
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
        aside = _aside(path, "part")
        aside.write_text("".join(kept), encoding="utf-8")
        aside.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: dict[str, Any]) -> None:
        """Append a record."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def __enter__(self) -> JsonlLog:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
        """Follow the steps from `step` to `total`; call `update` inside."""
        self._first, self._total, self._tokens = step, total, 0
        self._began = self._printed = time.monotonic()
        bar, status = BarColumn(), TextColumn("{task.description}", markup=False)
        terminal = self._console.is_terminal and not self._console.quiet
        with Bar(bar, status, console=self._console, disable=not terminal) as self._bar:
            self._task = self._bar.add_task("", total=total, completed=step)
            yield

    def update(self, step: int, loss: float, tokens: int) -> None:
        """Show that `step` is done, with its loss and how many tokens it read."""
        now = time.monotonic()
        elapsed = max(now - self._began, 1e-9)
        self._tokens += tokens
        left = elapsed / (step - self._first) * (self._total - step)
        status = (
            f"step {step}/{self._total}  loss {loss:.3f}  "
            f"{self._tokens / elapsed:,.0f} tokens/s  {timedelta(seconds=round(left))} left"
        )
        self._bar.update(self._task, completed=step, description=status)
        if self._bar.disable and (now - self._printed >= self._every or step == self._total):
            self._printed = now
            self.message(status)


class Interrupted(KeyboardInterrupt):
    """A signal stopped the work after what was done had been saved; the message says where."""


class StopRequest:
    """Whether somebody asked to stop."""

    made = False


@contextmanager
def signals_deferred() -> Iterator[StopRequest]:
    """Turn Ctrl-C and SIGTERM into a request, so that a step can be finished and saved.

    A second signal breaks off at once. Outside the main thread signals are left as they are.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def ask(*_: object) -> None:
        if request.made:
            raise KeyboardInterrupt
        request.made = True

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
