"""A memory on disk: the touched rows of every layer, with the fingerprint of its model.

Both forms of a state are stored alike, so that either can be read as the other, and a file can be
read without the model that made it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.layer import LayerWeights, Layout

FORMAT = "sparsemeta.fast_weights/1"


class Origin(NamedTuple):
    """Where a memory comes from, as its file says."""

    fingerprint: str
    """Of the model it belongs to."""
    texts: int = 0
    """Read since it was empty, as far as was noted."""
    bytes: int = 0
    """UTF-8 bytes of those texts."""


def save(path: Path, layers: Mapping[str, LayerWeights], origin: Origin) -> None:
    """Write the touched rows, aside first, then renamed into place.

    Raises:
        StateError: the file cannot be written; what was there is there still.
    """
    stored, shapes = {}, {}
    for name, layer in layers.items():
        index, rows = layer.touched()
        found = {"table.index": index, "table.rows": rows, "last": layer.last, "steps": layer.steps}
        stored |= {f"{name}.{k}": t.detach().cpu().contiguous() for k, t in found.items()}
        shapes[f"{name}.table"] = layer.shape
    about = {name: str(value) for name, value in origin._asdict().items()}
    header = {"format": FORMAT, **about, "shapes": json.dumps(shapes)}
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        save_file(stored, aside, metadata=header)
        with aside.open("rb") as written:
            os.fsync(written.fileno())
        aside.replace(path)
    except (OSError, SafetensorError) as error:
        raise StateError(
            f"{path}: cannot be written: {error}. Nothing was changed. Make room, or choose "
            "another place."
        ) from None
    finally:
        aside.unlink(missing_ok=True)


def load(path: Path, model: nn.Module | None) -> dict[str, LayerWeights]:
    """Read what `save` wrote.

    Args:
        path: the file.
        model: decides the form of each layer; None takes the file as it is, in the growing form.

    Raises:
        StateError: the file is missing, damaged, holds values that are not finite, was made by
            another model, or is more than the model has capacity for.
    """
    header, stored = _read(path)
    if model is not None and header.get("fingerprint") != fingerprint(model):
        raise StateError(
            f"{path}: this memory belongs to another model (or to other weights of this one). "
            "Load the model that made it, or start with an empty memory."
        )
    for key, tensor in stored.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise StateError(
                f"{path}: {key} holds NaN or infinity. Discard this file and read again "
                "from an earlier memory, or from none."
            )
    wanted = [getattr(module, "layout", None) for module in model.modules()] if model else []
    layouts = {layout[:3]: layout for layout in wanted if isinstance(layout, Layout)}
    layers = {}
    try:
        for key, (_, *shape) in json.loads(header["shapes"]).items():
            capacity = None if model else shape[1]
            layout = layouts.get(tuple(shape), Layout(*shape, capacity=capacity))
            names = ("table.index", "table.rows", "last", "steps")
            name = key.removesuffix(".table")
            layers[name] = LayerWeights.of_rows(layout, *(stored[f"{name}.{n}"] for n in names))
    except (AttributeError, LookupError, ValueError, TypeError, RuntimeError) as error:
        raise _damaged(path, error) from None
    except StateError as error:
        raise StateError(f"{path}: {error}") from None
    return layers


def read_origin(path: str | Path) -> Origin:
    """Where the memory in a file comes from; reads no table.

    Raises:
        StateError: the file is missing, damaged or no memory.
    """
    header, _ = _read(Path(path), tables=False)
    try:
        counts = (int(header.get(name, 0)) for name in ("texts", "bytes"))
        return Origin(header["fingerprint"], *counts)
    except (KeyError, ValueError) as error:
        raise _damaged(Path(path), error) from None


def fingerprint(model: nn.Module) -> str:
    """Identify a model by its slow weights: their names, shapes and values (sha256, hex)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _read(path: Path, *, tables: bool = True) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise StateError(f"{path}: no such memory file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            stored = {key: file.get_tensor(key) for key in file.keys() if tables}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from None
    if header.get("format") != FORMAT:
        raise StateError(
            f"{path}: not a memory of this version of sparsemeta "
            f"(format {header.get('format')!r}, expected {FORMAT!r})"
        )
    return header, stored


def _damaged(path: Path, error: Exception) -> StateError:
    return StateError(
        f"{path}: damaged or not a memory file ({error}). Restore it from a copy, "
        "or start with an empty memory."
    )
