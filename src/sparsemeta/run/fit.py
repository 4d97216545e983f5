"""The run itself: resume, step, log, review, save, stop; the same for all that is trained."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

from sparsemeta.config import to_dict, write_toml
from sparsemeta.errors import require
from sparsemeta.run.checkpoints import (
    Checkpoint,
    newest,
    prune,
    step_folder,
    weights_of,
    write,
)
from sparsemeta.run.config import REMEDY, TrainingConfig
from sparsemeta.run.engine import is_main
from sparsemeta.run.learner import Learner, optimizer_tensors
from sparsemeta.run.lock import locked
from sparsemeta.run.log import JsonlLog, TensorBoardLog
from sparsemeta.run.progress import Progress
from sparsemeta.run.signals import Interrupted, signals_deferred

L = TypeVar("L", bound=Learner[Any, Any])


class Recipe(Protocol):
    """A dataclass of all that decides a run."""

    @property
    def training(self) -> TrainingConfig:
        """How it is trained."""
        ...


def fit(
    begin: Callable[[Checkpoint | None], L],
    recipe: Recipe,
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

    Returns:
        The learner, its training finished.

    Raises:
        ConfigError: the newest checkpoint was trained by another recipe.
        CheckpointError: it is damaged, or a new one cannot be written.
        TrainingError: the loss or its gradient is not finite, or another process trains there.
        Interrupted: Ctrl-C or SIGTERM; what was done is saved.
    """
    folder, progress = Path(folder), progress or Progress(quiet=True)
    with locked(folder) if is_main() else nullcontext():
        found = newest(folder / "checkpoints") if resume else None
        saved = Checkpoint.read(found) if found else None
        if saved:
            _require_same(recipe, saved)
            progress.message(f"going on from {saved.folder}")
        learner = begin(saved)
        if saved:
            torch.set_rng_state(saved.tensors("random")["generator"])
        if not learner.finished:
            _go_on(learner, recipe, folder, progress)
    return learner


def _go_on(learner: Learner[Any, Any], recipe: Recipe, folder: Path, progress: Progress) -> None:
    config, stopped = recipe.training, False
    if is_main():
        if learner.latest is None:
            prune(folder / "checkpoints", keep=0)
        write_toml(folder / "recipe.toml", recipe)
    with ExitStack() as stack:
        stop = stack.enter_context(signals_deferred())
        logs = [stack.enter_context(log) for log in _open_logs(learner, folder)]
        stack.enter_context(progress.track(learner.step, config.updates))
        while not (stopped or learner.finished):
            records = [learner.take_step()]
            progress.advance(learner.step, learner.status(records[0]))
            if reviewed := learner.review():
                records.append(reviewed[0])
                progress.message(reviewed[1])
            for log in logs:
                for record in records:
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


def _save(learner: Learner[Any, Any], recipe: Recipe, folder: Path) -> None:
    """Write the checkpoint of this moment; keep the newest and the best."""
    record = {"step": learner.step, "recipe": to_dict(recipe), "facts": learner.facts()}
    weights = weights_of(learner.model)
    tensors = {
        "optimizer": optimizer_tensors(learner.model, learner.optimizer),
        "random": {"generator": torch.get_rng_state()},
        "own": learner.tensors(),
    }

    def work() -> Path:
        path = write(step_folder(folder, learner.step), record, weights, tensors, learner.write)
        spare = None if learner.best is None else step_folder(folder, learner.best)
        prune(folder, learner.kept, spare)
        return path

    learner.after_save(learner.engine.once(work))


def _open_logs(learner: Learner[Any, Any], folder: Path) -> Iterator[JsonlLog | TensorBoardLog]:
    """The run's logs, where this process is the one that writes them."""
    if is_main():
        yield JsonlLog(folder / "log.jsonl", step=learner.step)
        if learner.config.tensorboard:
            yield TensorBoardLog(folder / "tensorboard", step=learner.step)


def _require_same(recipe: Recipe, saved: Checkpoint) -> None:
    """Refuse to go on with another recipe than the checkpoint's.

    Raises:
        ConfigError: anything but `free` settings differs, or the checkpoint is past the end.
    """
    config = recipe.training
    then, now = _flat(to_dict(saved.recipe(type(recipe)))), _flat(to_dict(recipe))
    changed = [
        f"{key} (was {then.get(key)!r}, now {now.get(key)!r})"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key) and key not in {f"training.{name}" for name in config.free}
    ]
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
