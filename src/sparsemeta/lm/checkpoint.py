"""Model folders, and the checkpoints from which training goes on exactly.

    config.json           the format, the vocabulary's size and the model's configuration
    tokenizer.json
    model.safetensors     the weights
    training.json         in checkpoints only: how far training got, in which text, by which recipe
    training.safetensors  in checkpoints only: optimizer, stream state and random generator

Nothing is pickled: loading a folder runs no code from it.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from sparsemeta import files, run as engine
from sparsemeta.config import from_dict, to_dict
from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text.tokenizer import Tokenizer, load_tokenizer

FORMAT = 1
KEPT = 2


@dataclass(frozen=True)
class TrainingState:
    """All that training needs to go on as if it had never stopped, besides the model."""

    step: int
    """Optimizer steps done."""
    seconds: float
    """Time they took."""
    position: Any
    """Where the streams are in the text, as `Streams.position` gives it."""
    corpus: str
    """Fingerprint of that text."""
    recipe: dict[str, Any]
    """The recipe, as plain dictionaries."""
    best: dict[str, Any] | None = None
    """The best reading of the validation text: its `step`, and what `session.Best` holds."""
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    """The tensors of `optimizer`, `stream` and `random`."""


def save_model(folder: str | Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    """Write a self-contained model folder; a kill leaves what was there before."""
    with files.write_folder(Path(folder)) as aside:
        _write_model(aside, model, tokenizer)


def load_model(path: str | Path) -> tuple[LanguageModel, Tokenizer]:
    """Read a model and its tokenizer.

    Args:
        path: a model folder, or a run folder: see `find_model`.

    Returns:
        The model, on the CPU, and its tokenizer.

    Raises:
        CheckpointError: there is no model, or it is damaged, or of another format or shape.
    """
    folder = find_model(Path(path))
    data = _read_json(folder / "config.json")
    _require_format(folder / "config.json", data.get("format"))
    try:
        config, vocabulary = from_dict(data["model"], ModelConfig), int(data["vocab_size"])
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise _damaged(folder / "config.json", error) from None
    tokenizer = load_tokenizer(folder)
    if tokenizer.vocab_size != vocabulary:
        raise CheckpointError(
            f"{folder}: tokenizer.json has {tokenizer.vocab_size} tokens but the model was trained "
            f"with {vocabulary}. Put the model's own tokenizer.json back."
        )
    model = LanguageModel(config, vocabulary)
    try:
        safetensors.torch.load_model(model, folder / "model.safetensors")
    except (OSError, SafetensorError) as error:
        raise _damaged(folder / "model.safetensors", error) from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(
            f"{folder}: model.safetensors does not fit config.json ({reason}). "
            "Put back the two files that were saved together."
        ) from None
    return model, tokenizer


def find_model(path: Path) -> Path:
    """The model folder at a path: the path itself, or a checkpoint of that run.

    A run that reads a validation text while it trains means its best checkpoint, as of the newest;
    any other its newest.

    Raises:
        CheckpointError: there is none.
    """
    files.settle(path)
    if (path / "config.json").is_file():
        return path
    checkpoints = path / "checkpoints"
    folder = engine.newest(checkpoints)
    if folder is None:
        what = "holds no model (no config.json)" if path.is_dir() else "is not a folder"
        raise CheckpointError(
            f"{path}: {what}. Give a model folder, or the folder of a run that has saved a "
            "checkpoint (runs/NAME)."
        )
    best = _best(checkpoints, _read_json(folder / "training.json").get("best"))
    return best if best and best.is_dir() else folder


def save_checkpoint(
    checkpoints: Path, model: LanguageModel, tokenizer: Tokenizer, training: TrainingState
) -> Path:
    """Write the checkpoint of a step; keep the newest `KEPT` and the best.

    Args:
        checkpoints: the folder that holds all checkpoints of the run.
        model: its weights are saved.
        tokenizer: saved with it.
        training: everything else that is needed to go on.

    Returns:
        The checkpoint's folder, `checkpoints/step-N`.

    Raises:
        CheckpointError: it cannot be written, the disk being full for example; those before it are
            as they were.
    """
    folder = _step_folder(checkpoints, training.step)
    names = [f.name for f in dataclasses.fields(training) if f.name != "tensors"]
    record = {name: getattr(training, name) for name in names}
    tensors = {
        f"{group}/{name}": value.contiguous()
        for group, named in training.tensors.items()
        for name, value in named.items()
    }
    try:
        with files.write_folder(folder) as aside:
            _write_model(aside, model, tokenizer)
            safetensors.torch.save_file(tensors, aside / "training.safetensors")
            _write_json(aside / "training.json", {"format": FORMAT, **record})
    except (OSError, SafetensorError) as error:
        last = engine.newest(checkpoints)
        kept = f"{last} is whole" if last else "there is none before it"
        raise CheckpointError(
            f"{folder}: cannot be written ({error}); {kept}. Make room on the disk, and run the "
            "same command to go on."
        ) from None
    engine.prune(checkpoints, KEPT, spare=_best(checkpoints, training.best))
    return folder


def load_training(folder: Path) -> TrainingState:
    """Read back what `save_checkpoint` was given beside the model.

    Raises:
        CheckpointError: a file is missing or damaged.
    """
    record = _read_json(folder / "training.json")
    _require_format(folder / "training.json", record.pop("format", None))
    tensors: dict[str, dict[str, Tensor]] = {"optimizer": {}, "stream": {}, "random": {}}
    try:
        flat = safetensors.torch.load_file(folder / "training.safetensors")
    except (OSError, SafetensorError) as error:
        raise _damaged(folder / "training.safetensors", error) from None
    for key, value in flat.items():
        group, _, name = key.partition("/")
        tensors.setdefault(group, {})[name] = value
    try:
        return TrainingState(**record, tensors=tensors)
    except TypeError as error:
        raise _damaged(folder / "training.json", error) from None


def _step_folder(checkpoints: Path, step: int) -> Path:
    return checkpoints / f"step-{step:06d}"


def _best(checkpoints: Path, best: dict[str, Any] | None) -> Path | None:
    """Where the best checkpoint is, by what another one says of it."""
    return _step_folder(checkpoints, best["step"]) if best else None


def _write_model(folder: Path, model: LanguageModel, tokenizer: Tokenizer) -> None:
    config = {"format": FORMAT, "vocab_size": tokenizer.vocab_size, "model": to_dict(model.config)}
    _write_json(folder / "config.json", config)
    tokenizer.save(folder)
    # Unlike save_file, this writes tied weights once.
    safetensors.torch.save_model(model, str(folder / "model.safetensors"))


def _write_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise _damaged(path, error) from None


def _require_format(path: Path, found: object) -> None:
    if found != FORMAT:
        raise CheckpointError(
            f"{path}: format {found!r}, but this version of sparsemeta reads format {FORMAT}. "
            "Use the version that wrote it."
        )


def _damaged(path: Path, reason: object) -> CheckpointError:
    """An error that says which copy of the model is still good."""
    folder = path.parent
    others = [other for other in engine.step_folders(folder.parent) if other != folder]
    if others and folder.name.startswith("step-"):
        remedy = f"Delete {folder}: then the checkpoint at {others[-1]} will be used."
    else:
        remedy = f"Delete {folder} and copy or train the model again."
    return CheckpointError(f"{path}: cannot be used ({reason}). {remedy}")
