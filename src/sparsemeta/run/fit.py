"""The run itself: resume, step, log, review, save, stop; the same for all that is trained.

One process at a time trains in a folder; Ctrl-C and SIGTERM ask it to save what it did.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from itertools import product
from pathlib import Path
from typing import Any, Protocol, TypeVar

from filelock import FileLock, Timeout

from sparsemeta.config import to_dict, write_toml
from sparsemeta.errors import ConfigError, TrainingError, require
from sparsemeta.files import write_text
from sparsemeta.run import checkpoints
from sparsemeta.run.config import REMEDY, TrainingConfig
from sparsemeta.run.engine import is_main, wait_for_main
from sparsemeta.run.learner import Learner
from sparsemeta.run.log import JsonlLog, Progress, TensorBoardLog

L = TypeVar("L", bound=Learner[Any, Any])


class Interrupted(KeyboardInterrupt):
    """A signal stopped the work after what was done had been saved; the message says where."""


class StopRequest:
    """Whether somebody asked to stop."""

    made = False


class _Recipe(Protocol):
    """A dataclass of all that decides a run."""

    @property
    def training(self) -> TrainingConfig: ...


def fit(
    begin: Callable[[checkpoints.Checkpoint | None], L],
    recipe: _Recipe,
    folder: str | Path,
    *,
    resume: bool = True,
    progress: Progress | None = None,
) -> L:
    """Train, or go on training. A run stopped and resumed gives the weights of one that was not.

    Args:
        begin: makes the learner, new or from a checkpoint; may write in the folder.
        recipe: all that decides the result.
        folder: of `recipe.toml`, `log.jsonl` and `checkpoints/`; `tensorboard/` if asked for.
        resume: go on from the newest checkpoint; otherwise begin anew and delete it.
        progress: where to show how it goes; nothing is shown without it.

    Raises:
        ConfigError: the newest checkpoint was trained by another recipe.
        TrainingError: the loss or its gradient is not finite, or another process trains there.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    folder, progress = Path(folder), progress or Progress(quiet=True)
    wait_for_main()
    with locked(folder) if is_main() else nullcontext():
        found = checkpoints.newest(folder / "checkpoints") if resume else None
        saved = checkpoints.Checkpoint.read(found) if found else None
        if saved:
            _require_same(recipe, saved)
            progress.message(f"going on from {saved.folder}")
        learner = begin(saved)
        if saved:
            learner.engine.set_random_state(saved.tensors("random"))
        if not learner.finished:
            _go_on(learner, recipe, folder, progress)
    return learner


def _go_on(learner: Learner[Any, Any], recipe: _Recipe, folder: Path, progress: Progress) -> None:
    config, stopped = recipe.training, False
    if is_main():
        if learner.latest is None:
            checkpoints.prune(folder / "checkpoints", keep=0)
        write_toml(folder / "recipe.toml", recipe)
    with ExitStack() as stack:
        stop = stack.enter_context(signals_deferred())
        logs = []
        if is_main():
            logs.append(stack.enter_context(JsonlLog(folder / "log.jsonl", step=learner.step)))
        if is_main() and config.tensorboard:
            curves = TensorBoardLog(folder / "tensorboard", step=learner.step)
            logs.append(stack.enter_context(curves))
        stack.enter_context(progress.track(learner.step, config.updates))
        while not (stopped or learner.finished):
            records = [learner.take_step()]
            progress.advance(learner.step, learner.status(records[0]))
            if reviewed := learner.review():
                records.append(reviewed[0])
                progress.message(reviewed[1])
            for log, record in product(logs, records):
                log.write(record)
            stopped = learner.engine.any(stop.made)
            due = learner.step % config.checkpoint_every == 0 or learner.best == learner.step
            if due or stopped or learner.finished:
                _save(learner, recipe, folder / "checkpoints")
    if not learner.finished:
        raise Interrupted(
            f"Stopped after step {learner.step} of {config.updates}; saved in {learner.latest}. "
            "Run the same command (without --restart) to go on."
        )


def _save(learner: Learner[Any, Any], recipe: _Recipe, folder: Path) -> None:
    """Write the checkpoint of this moment; keep the newest and the best."""
    record = {"step": learner.step, "recipe": to_dict(recipe), "facts": learner.facts()}
    weights = checkpoints.weights_of(learner.model)
    statistics = checkpoints.optimizer_tensors(learner.model, learner.optimizer)
    random = learner.engine.random_state()
    tensors = {"optimizer": statistics, "random": random, "own": learner.tensors()}

    def work() -> Path:
        path = checkpoints.step_folder(folder, learner.step)
        checkpoints.write(path, record, weights, tensors, learner.write)
        spare = None if learner.best is None else checkpoints.step_folder(folder, learner.best)
        checkpoints.prune(folder, learner.kept, spare)
        return path

    learner.after_save(learner.engine.once(work))


def _require_same(recipe: _Recipe, saved: checkpoints.Checkpoint) -> None:
    """Refuse to go on where anything but `free` settings differs, or past the end."""
    config = recipe.training
    then, now = _flat(to_dict(saved.recipe(type(recipe)))), _flat(to_dict(recipe))
    fixed = sorted((then.keys() | now.keys()) - {f"training.{name}" for name in config.free})
    pairs = ((key, then.get(key), now.get(key)) for key in fixed)
    changed = [f"{key} (was {old!r}, now {new!r})" for key, old, new in pairs if old != new]
    require(
        not changed,
        f"{saved.folder} was trained by another recipe: {', '.join(changed)}. Give the same values "
        f"to go on with it, {REMEDY}.",
    )
    require(
        saved.step <= config.updates,
        f"training.steps = {config.steps}, but {saved.folder} is already past that. Ask for more "
        f"steps, {REMEDY}.",
    )


def _flat(nested: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{where}{key}.") if isinstance(value, dict) else {where + key: value}
    return flat


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, made if need be, until this ends, however it ends."""
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
