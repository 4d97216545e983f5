"""What an augmented network was trained to remember, as a folder like those of PEFT.

adapter_config.json        how the base was augmented
adapter_model.safetensors  the weights of its memories, and a sketch of the base
digests.json               the SHA-256 of both
"""

import json
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sparsemeta.augmented.attached import CHILD, AugmentConfig
from sparsemeta.augmented.augmenting import augment, memories, strip
from sparsemeta.augmented.sessions import ATTRIBUTE, augmentation, unwrapped
from sparsemeta.config import from_dict, to_dict
from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.files import check_folder, writable, write_folder

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
KIND = "SPARSEMETA"
SKETCH = "base_model.sketch"
"""What the sketch of the base is called among the weights; no memory is."""
LORA, LAYER = "lora_", "base_layer"
"""What the weights that peft adds are called, and what it calls a module inside its own."""
ENTRIES = 64
"""Of each weight, in the sketch."""
COARSEST = 2**-7
"""Twice what rounding to bfloat16 changes, relatively."""

Model = TypeVar("Model", bound=nn.Module)


def save_adapter(model: nn.Module, folder: str | Path) -> None:
    """Write the memories' weights and settings to a folder, and nothing of the base.

    What was learned while running is not in it: that is a `FastWeights`.

    Raises:
        ConfigError: the model is not augmented, or the folder cannot be written.
    """
    path = Path(folder)
    with writable(path), write_folder(path) as aside:
        write_adapter(model, aside)


def write_adapter(model: nn.Module, folder: Path) -> None:
    """Write what makes a folder, which is there, an adapter; digests are the caller's to write."""
    config = to_dict(augmentation(model).config)
    about: dict[str, Any] = {"peft_type": KIND, "base": _names(model), **config}
    weights = {
        name: _whole(x).cpu().contiguous() for name, x in memories(model).state_dict().items()
    }
    (folder / CONFIG).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    save_file(weights | {SKETCH: sketch(model)}, folder / WEIGHTS)


def load_adapter(model: Model, folder: str | Path) -> Model:
    """Augment a network as an adapter says, and give its memories the adapter's weights.

    Args:
        model: the base, or the base augmented in the same way.
        folder: as `save_adapter` wrote it, or a checkpoint of `sparsemeta augment`.

    Raises:
        CheckpointError: the adapter is missing or damaged, or belongs to another base; the model
            is as it was.
        ConfigError: the model is augmented in another way.
    """
    path = Path(folder)
    about, weights = _read(path)
    _require_base(path, model, about.pop("base", {}), weights.pop(SKETCH, torch.empty(0)))
    try:
        config = from_dict(about, AugmentConfig)
    except ConfigError as error:
        raise CheckpointError(f"{path / CONFIG}: {error}") from None
    new = ATTRIBUTE not in unwrapped(model).__dict__
    if new:
        output = [given for given in (config.rows, config.tables) if given is not None]
        options: dict[str, Any] = {"targets": config.targets, "feedback": config.feedback}
        augment(model, config.memory, output=output, **options)
    elif augmentation(model).config != config:
        raise ConfigError(
            f"{path}: the model is augmented in another way than this adapter. `strip` it, and "
            "load the adapter into the base"
        )
    try:
        _fill(path, memories(model), weights)
    except CheckpointError:
        if new:
            strip(model)
        raise
    return model


def sketch(model: nn.Module) -> Tensor:
    """A few entries of each weight of a base, (P, ENTRIES) float32: who it is, in any dtype."""
    rows = []
    for weight in _base(model).values():
        flat = _whole(weight).flatten()
        places = torch.linspace(0, max(len(flat) - 1, 0), ENTRIES, dtype=torch.float64).round()
        found = flat[places.long().to(flat.device)] if len(flat) else flat.new_zeros(ENTRIES)
        rows.append(found.detach().to("cpu", torch.float32))
    return torch.stack(rows) if rows else torch.zeros(0, ENTRIES)


def _base(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a network without its memories and those of LoRA, by name."""
    named = ((name.split("."), weight) for name, weight in unwrapped(model).named_parameters())
    found = {
        ".".join(part for part in parts if part != LAYER): weight
        for parts, weight in named
        if CHILD not in parts and not any(part.startswith(LORA) for part in parts)
    }
    return dict(sorted(found.items()))


def _names(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(weight.shape) for name, weight in _base(model).items()}


def _whole(tensor: Any) -> Tensor:
    """All of a tensor that is spread over processes."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not (path / CONFIG).is_file():
        raise CheckpointError(
            f"{path}: no adapter, there is no {CONFIG}. Give a folder that save_adapter wrote, or "
            "a checkpoint of `sparsemeta augment`."
        )
    check_folder(path)
    try:
        about = json.loads((path / CONFIG).read_text(encoding="utf-8"))
        weights = load_file(path / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(
            f"{path}: the adapter is damaged ({error}). Put it back from a copy, or train it again."
        ) from None
    if not isinstance(about, dict) or about.pop("peft_type", None) != KIND:
        raise CheckpointError(f"{path / CONFIG}: this adapter is of another kind than {KIND}.")
    return about, weights


def _require_base(path: Path, model: nn.Module, names: dict[str, Any], drawn: Tensor) -> None:
    """Raise `CheckpointError` unless the adapter was trained on this base."""
    own = _names(model)
    if names != own:
        differ = sorted(k for k in names.keys() | own.keys() if names.get(k) != own.get(k))
        what = f"its weights differ in shape or name, such as {differ[0]}"
    else:
        found = sketch(model)
        near = found.shape == drawn.shape and torch.isclose(
            found, drawn, rtol=COARSEST, atol=1e-6, equal_nan=True
        )
        wrong = [] if near is False else (~near).any(1).nonzero().flatten().tolist()
        if near is not False and not wrong:
            return
        what = f"its weights are others, such as {list(own)[wrong[0]] if wrong else 'all'}"
    raise CheckpointError(
        f"{path}: this adapter belongs to another base: {what}. Load the base that it was trained "
        "on, or train an adapter for this one."
    )


def _fill(path: Path, own: nn.ModuleDict, weights: dict[str, Tensor]) -> None:
    """Give the memories these weights: all of them, and no others."""
    wanted = own.state_dict()
    missing, other = sorted(wanted.keys() - weights.keys()), sorted(weights.keys() - wanted.keys())
    shapes = [k for k in wanted.keys() & weights.keys() if wanted[k].shape != weights[k].shape]
    found = (("missing", missing), ("unexpected", other), ("of another shape", sorted(shapes)))
    wrong = [f"{what}: {', '.join(names[:5])}" for what, names in found if names]
    if wrong:
        raise CheckpointError(
            f"{path / WEIGHTS}: does not fit its {CONFIG} ({'; '.join(wrong)}). Put the adapter "
            "back from a copy, or train it again."
        )
    own.load_state_dict(weights)
