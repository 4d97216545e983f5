"""Checkpoints: folders numbered by step, of one format for all that is trained.

    model.safetensors     the weights
    training.safetensors  optimizer, random generator, and tensors of the family's own
    training.json         format, step, recipe, and facts of the family's own
    digests.json          what the files must be

Nothing is pickled: loading a folder runs no code from it.
"""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.optim import Optimizer

from sparsemeta import files
from sparsemeta.config import from_dict
from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.run.engine import share, whole

FORMAT = 1
MODEL = "model.safetensors"
T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that was found whole."""

    folder: Path
    step: int
    """Steps done."""
    facts: dict[str, Any]
    """The family's own."""
    _recipe: dict[str, Any]
    _tensors: dict[str, Tensor]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a checkpoint but its weights; an error names a copy that is still good."""
        check(folder)
        record = read_json(folder / "training.json")
        file = folder / "training.safetensors"
        try:
            tensors = safetensors.torch.load_file(file)
            return cls(folder, record["step"], record["facts"], record["recipe"], tensors)
        except (OSError, SafetensorError, KeyError) as error:
            raise damaged(file, error) from None

    def recipe(self, schema: type[T]) -> T:
        """The recipe that it was trained by; settings that it does not name have their defaults."""
        try:
            return from_dict(self._recipe, schema)
        except ConfigError as error:
            raise damaged(self.folder / "training.json", error) from None

    def tensors(self, group: str) -> dict[str, Tensor]:
        """Tensors by name: those of `optimizer`, of `random`, or the family's `own`."""
        prefix = f"{group}/"
        return {n.removeprefix(prefix): t for n, t in self._tensors.items() if n.startswith(prefix)}

    @property
    def weights(self) -> Path:
        """The file of its weights."""
        return self.folder / MODEL


def write(
    folder: Path,
    record: dict[str, Any],
    weights: dict[str, Tensor],
    tensors: Mapping[str, dict[str, Tensor]],
    more: Callable[[Path], None],
) -> Path:
    """Write a checkpoint; a kill, or a `CheckpointError`, leaves what was there before."""
    flat = {f"{g}/{n}": t.contiguous() for g, named in tensors.items() for n, t in named.items()}
    try:
        with files.write_folder(folder) as aside:
            safetensors.torch.save_file(weights, aside / MODEL)
            safetensors.torch.save_file(flat, aside / "training.safetensors")
            write_json(aside / "training.json", record)
            more(aside)
    except (OSError, SafetensorError) as error:
        last = newest(folder.parent)
        kept = f"{last} is whole" if last else "there is none before it"
        raise CheckpointError(
            f"{folder}: cannot be written ({error}); {kept}. Make room on the disk, and run the "
            "same command to go on."
        ) from None
    return folder


def check(folder: Path) -> None:
    """Check that a checkpoint or model folder is what was written; errors as `damaged`."""
    try:
        files.check_folder(folder)
    except CheckpointError as error:
        raise CheckpointError(f"{error} {_other(folder)}".rstrip()) from None


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights of a model by name, tied ones once; all processes have to call this."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        found.setdefault(id(tensor), (name, tensor))
    return {name: whole(tensor.detach()).contiguous() for name, tensor in found.values()}


def load_model(file: Path, build: Callable[[], M]) -> M:
    """A model with the weights of a file; shapes are compared before any of them is allocated.

    For that, `build` makes it first on the device `meta`, where it takes no room.
    """
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in build().state_dict().items()}
    try:
        with safe_open(file, "pt") as held:
            names = held.keys()
            found = {name: tuple(held.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        raise damaged(file, error) from None
    for name, shape in found.items():
        if wanted.get(name) != shape:
            needs = f"needs {wanted[name]}" if name in wanted else "has no such weight"
            what = f"{name} has shape {shape}, but the model {needs}"
            raise damaged(file, f"it is of another model: {what}")
    model = build()
    load_weights(file, model)
    return model


def load_weights(file: Path, model: nn.Module) -> None:
    """Load weights into a model that there is already; errors as `load_model`."""
    try:
        safetensors.torch.load_model(model, file)
    except (OSError, SafetensorError) as error:
        raise damaged(file, error) from None
    except RuntimeError as error:
        raise damaged(file, f"it is of another model: {' '.join(str(error).split())}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a `CheckpointError` if it is missing, damaged, or of another format."""
    try:
        data = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise damaged(path, error) from None
    if data.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: format {data.get('format')!r}, but this version of sparsemeta reads format "
            f"{FORMAT}. Use the version that wrote it."
        )
    return data


def write_json(path: Path, data: dict[str, Any]) -> None:
    """Write a JSON object, and its format."""
    path.write_text(json.dumps({"format": FORMAT, **data}, indent=2) + "\n", encoding="utf-8")


def damaged(path: Path, reason: object) -> CheckpointError:
    """An error that says which copy is still good."""
    remedy = _other(path.parent) or f"Delete {path.parent} and copy or train the model again."
    return CheckpointError(f"{path}: damaged ({reason}). {remedy}")


def _other(folder: Path) -> str:
    """Which checkpoint is still good, if there is one beside this."""
    others = [other for other in step_folders(folder.parent) if other != folder]
    if not others or not folder.name.startswith("step-"):
        return ""
    return f"Delete {folder}: then the checkpoint at {others[-1]} will be used."


def step_folder(folder: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return folder / f"step-{step:06d}"


def step_folders(folder: Path) -> list[Path]:
    """The complete checkpoints `step-N` in a folder, oldest first."""
    found = [p for p in folder.glob("step-*") if p.is_dir() and re.fullmatch(r"step-\d+", p.name)]
    return sorted(found, key=lambda p: int(p.name.removeprefix("step-")))


def newest(folder: Path) -> Path | None:
    """The newest complete checkpoint in a folder, if there is one."""
    return next(reversed(step_folders(folder)), None)


def prune(folder: Path, keep: int, spare: Path | None = None) -> None:
    """Delete checkpoints but `spare` and the newest `keep`, and what kills left half-written."""
    complete = step_folders(folder)
    for path in complete[: max(0, len(complete) - keep)]:
        if path != spare:
            # Renamed first: a kill while it is being deleted must not leave half a checkpoint.
            path.rename(path.with_name(f".{path.name}.0-deleted.part"))
    for leftover in folder.glob(".step-*.part"):
        shutil.rmtree(leftover, ignore_errors=True)


def optimizer_tensors(model: nn.Module, optimizer: Optimizer) -> dict[str, Tensor]:
    """The optimizer's running statistics as `parameter.key`; its settings are not in it.

    Where they are shared among processes, all of them have to call this. (Torch's own
    `get_optimizer_state_dict` cannot hold a parameter that has had no gradient yet.)
    """
    names: dict[Tensor, str] = {p: name for name, p in model.named_parameters()}
    kept = ((names[p], item) for p, held in optimizer.state.items() for item in held.items())
    return {f"{name}.{key}": whole(value) for name, (key, value) in kept}


def restore_optimizer(model: nn.Module, optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` returned; an error if it is of other parameters."""
    owners = dict(model.named_parameters())
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    places = {parameter: i for i, parameter in enumerate(parameters)}
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        owner, _, key = name.rpartition(".")
        parameter = owners.get(owner)
        if parameter is None or (value.ndim and value.shape != parameter.shape):
            needed = f"has no {owner}" if parameter is None else f"needs {tuple(parameter.shape)}"
            raise CheckpointError(
                f"the optimizer's {name} has shape {tuple(value.shape)}, but this model {needed}. "
                "Put back the files that were saved together."
            )
        shared = share(value, parameter) if value.ndim else value
        state.setdefault(places[parameter], {})[key] = shared
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
