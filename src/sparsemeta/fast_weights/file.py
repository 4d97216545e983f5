"""A memory on disk: the rows of every layer that are used, with the fingerprint of its model.

Both forms of `LayerWeights` are stored alike, so that either can be read as the other, and a file
can be read without the model that made it. Its header says of what kind and shape each layer is,
with a digest of all that the file holds. What a header claims is checked, against the model if
there is one, before anything is allocated; then the digest is, then whether rows can be a table.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as encoded
from torch import Tensor, nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.base import LayerState
from sparsemeta.fast_weights.blueprint import Blueprint, fingerprint, layouts, sha256
from sparsemeta.fast_weights.cached import CachedStates
from sparsemeta.fast_weights.layer import LayerWeights
from sparsemeta.fast_weights.tables import TableWeights
from sparsemeta.files import write_file

FORMAT = "sparsemeta.fast_weights/3"
KINDS: dict[str, type[LayerState]] = {
    kind.__name__: kind for kind in (LayerWeights, TableWeights, CachedStates)
}
DTYPES = {
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int32: "I32",
    torch.int64: "I64",
}
"""As safetensors calls them."""
Claims = dict[str, tuple[type[LayerState], list[int]]]
"""Kind and shape of each layer."""
DAMAGE = (OSError, SafetensorError, ArithmeticError, AttributeError, LookupError, MemoryError)
DAMAGE += (RuntimeError, TypeError, ValueError)
"""What reading a file of any bytes may raise."""


class Origin(NamedTuple):
    """Where a memory comes from, as its file says."""

    fingerprint: str  # of the model it belongs to
    texts: int = 0  # read since it was empty, as far as was noted
    bytes: int = 0  # UTF-8 bytes of those texts


def save(path: Path, layers: Mapping[str, LayerState], origin: Origin) -> None:
    """See `FastWeights.save`."""
    try:
        with write_file(path) as aside:
            aside.write_bytes(encode(layers, origin))
    except (OSError, SafetensorError) as error:
        advice = "Nothing was changed. Make room, or choose another place."
        raise StateError(f"{path}: cannot be written: {error}. {advice}") from None


def encode(layers: Mapping[str, LayerState], origin: Origin) -> bytes:
    """See `FastWeights.encode`."""
    stored, shapes = {}, {}
    for name, layer in layers.items():
        shapes[name] = [type(layer).__name__, *layer.shape]
        for part, tensor in layer.stored().items():
            stored[f"{name}.{part}"] = tensor.detach().cpu().contiguous()
    header = {name: str(value) for name, value in origin._asdict().items()}
    header |= {"format": FORMAT, "layers": json.dumps(shapes)}
    made = encoded(stored, metadata=header | {"digest": digest(header, stored)})
    start = 8 + int.from_bytes(made[:8], "little")  # safetensors names things in any order
    ordered = json.dumps(json.loads(made[8:start]), sort_keys=True, separators=(",", ":")).encode()
    ordered += b" " * (-len(ordered) % 8)
    return len(ordered).to_bytes(8, "little") + ordered + made[start:]


def load(path: Path, model: nn.Module | Blueprint | None) -> dict[str, LayerState]:
    """See `FastWeights.load`."""
    blueprint = model if isinstance(model, Blueprint) else None
    known = layouts(model) if isinstance(model, nn.Module) else blueprint and blueprint.layouts
    layers = {}
    with _opened(path) as (header, file):
        if isinstance(model, Blueprint):
            _check_owner(path, header, model.fingerprint)
        elif model is not None:
            _check_owner(path, header, fingerprint(model))
        claims = _claims(header, file)
        if blueprint:
            _check_alike(blueprint, claims, file)
        for name, (kind, shape) in claims.items():
            if known is not None and (kind.layout_type, *shape[1:]) not in known:
                raise ValueError(f"the model has no {name} of {shape[1:]}")
        stored = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        if digest(header, stored) != header["digest"]:
            raise ValueError("what it holds is not what was saved: the digests differ")
        for key, tensor in stored.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise StateError(
                    f"{path}: {key} holds NaN or infinity. Discard this file and read again "
                    "from an earlier memory, or from none."
                )
        for name, (kind, shape) in claims.items():
            parts = {part: stored[f"{name}.{part}"] for part in kind.parts}
            layout = (known or {}).get((kind.layout_type, *shape[1:]))
            try:
                layers[name] = kind.of_stored(shape, parts, layout)
            except StateError as error:
                raise StateError(f"{path}: {error}") from None
            except ValueError as error:
                raise ValueError(f"{name} has {error}") from None
    return layers


def read_origin(path: str | Path) -> Origin:
    """Where the memory in a file comes from; reads no table, and so proves no digest."""
    with _opened(Path(path)) as (header, _):
        return Origin(header["fingerprint"], *(int(header[name]) for name in ("texts", "bytes")))


def digest(header: Mapping[str, str], stored: Mapping[str, Tensor]) -> str:
    """Of all that a file says and holds, but for the digest itself."""
    about = "".join(f"{key}={header[key]}\n" for key in sorted(header) if key != "digest")
    return sha256(about, stored)


def _check_owner(path: Path, header: Mapping[str, str], owner: str) -> None:
    if header.get("fingerprint") != owner:
        raise StateError(
            f"{path}: this memory belongs to another model (or to other weights of this one). "
            "Load the model that made it, or start with an empty memory."
        )


def _claims(header: Mapping[str, str], file: Any) -> Claims:
    """Of what kind and shape each layer is, as the header says; no tensor is read.

    Raises:
        ValueError: that cannot be, by the names, dtypes and shapes of the tensors.
    """
    claimed = json.loads(header["layers"])
    claims = {name: (KINDS[kind], shape) for name, (kind, *shape) in claimed.items()}
    named = {f"{name}.{part}" for name, (kind, _) in claims.items() for part in kind.parts}
    if named != {*file.keys()}:
        raise ValueError("it has other tensors than its layers have parts")
    for name, (kind, shape) in claims.items():
        if not all(type(size) is int and size > 0 for size in shape):
            raise ValueError(f"{name} is of shape {shape}")
        slices = {part: file.get_slice(f"{name}.{part}") for part in kind.parts}
        if tuple(part.get_dtype() for part in slices.values()) not in kind.dtypes:
            raise ValueError(f"{name} has other dtypes")
        try:
            kind.check_sizes(shape, {part: x.get_shape() for part, x in slices.items()})
        except ValueError as error:
            raise ValueError(f"{name} has {error}") from None
    return claims


def _check_alike(blueprint: Blueprint, claims: Claims, file: Any) -> None:
    """Raise `ValueError` unless a file has just the layers, shapes and dtypes of a blueprint.

    The number of rows is free: the layers' own check has bound it.
    """
    wanted = {name: (type(layer), [*layer.shape]) for name, layer in blueprint.layers.items()}
    if claims != wanted:
        raise ValueError("it has other layers than the model, or of other shapes")
    for name, layer in blueprint.layers.items():
        for part, tensor in layer.stored().items():
            found = file.get_slice(f"{name}.{part}")
            alike = found.get_shape()[1:] == [*tensor.shape[1:]]
            if not alike or found.get_dtype() != DTYPES[tensor.dtype]:
                raise ValueError(f"{name}.{part} is of another shape or dtype than the model's")


@contextmanager
def _opened(path: Path) -> Iterator[tuple[dict[str, str], Any]]:
    """A memory file's header and its handle; what is wrong with either is a `StateError`."""
    if not path.is_file():
        raise StateError(f"{path}: no such memory file")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("format") != FORMAT:
                raise StateError(
                    f"{path}: not a memory of this version of sparsemeta "
                    f"(format {header.get('format')!r}, expected {FORMAT!r})"
                )
            yield header, file
    except DAMAGE as error:
        raise StateError(
            f"{path}: damaged or not a memory file ({error}). Restore it from a copy, "
            "or start with an empty memory."
        ) from None
