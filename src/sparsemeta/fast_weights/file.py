"""A memory on disk: the rows of every layer that are used, with the fingerprint of its model.

Both forms of `LayerWeights` are stored alike, so that either can be read as the other, and a file
can be read without the model that made it. Its header says of what kind and shape each layer is,
with a digest of all that the file holds. What a header claims is checked, against the model if
there is one, before anything is allocated; then the digest is, then whether rows can be a table.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.base import LayerState
from sparsemeta.fast_weights.cached import CachedStates
from sparsemeta.fast_weights.layer import LayerWeights
from sparsemeta.fast_weights.tables import TableWeights
from sparsemeta.files import write_file

FORMAT = "sparsemeta.fast_weights/3"
KINDS: dict[str, type[LayerState]] = {
    kind.__name__: kind for kind in (LayerWeights, TableWeights, CachedStates)
}
LAYOUTS = tuple([kind.layout_type for kind in KINDS.values()])
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
    stored, shapes = {}, {}
    for name, layer in layers.items():
        shapes[name] = [type(layer).__name__, *layer.shape]
        for part, tensor in layer.stored().items():
            stored[f"{name}.{part}"] = tensor.detach().cpu().contiguous()
    header = {name: str(value) for name, value in origin._asdict().items()}
    header |= {"format": FORMAT, "layers": json.dumps(shapes)}
    try:
        with write_file(path) as aside:
            save_file(stored, aside, metadata=header | {"digest": digest(header, stored)})
    except (OSError, SafetensorError) as error:
        advice = "Nothing was changed. Make room, or choose another place."
        raise StateError(f"{path}: cannot be written: {error}. {advice}") from None


def load(path: Path, model: nn.Module | None) -> dict[str, LayerState]:
    """See `FastWeights.load`."""
    modules = model.modules() if model else ()
    wanted: list[Any] = [getattr(module, "layout", None) for module in modules]
    layouts = {(type(x), *x.shape): x for x in wanted if isinstance(x, LAYOUTS)}
    layers = {}
    with _opened(path) as (header, file):
        if model is not None and header.get("fingerprint") != fingerprint(model):
            raise StateError(
                f"{path}: this memory belongs to another model (or to other weights of this one). "
                "Load the model that made it, or start with an empty memory."
            )
        claimed = json.loads(header["layers"])
        claims = {name: (KINDS[kind], shape) for name, (kind, *shape) in claimed.items()}
        for name, (kind, shape) in claims.items():
            _check_claim(file, name, kind, shape)
            if model is not None and (kind.layout_type, *shape[1:]) not in layouts:
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
            layout = layouts.get((kind.layout_type, *shape[1:]))
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


def fingerprint(model: nn.Module) -> str:
    """Identify a model by its slow weights: their names, shapes and values (sha256, hex)."""
    return _sha256("", model.state_dict())


def digest(header: Mapping[str, str], stored: Mapping[str, Tensor]) -> str:
    """Of all that a file says and holds, but for the digest itself."""
    about = "".join(f"{key}={header[key]}\n" for key in sorted(header) if key != "digest")
    return _sha256(about, stored)


def _sha256(about: str, tensors: Mapping[str, Tensor]) -> str:
    hashed = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        hashed.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def _check_claim(file: Any, name: str, kind: type[LayerState], shape: Sequence[int]) -> None:
    """Raise `ValueError` unless what a header claims of a layer can be: from the header alone."""
    if not all(type(size) is int and size > 0 for size in shape):
        raise ValueError(f"{name} is of shape {shape}")
    sizes = {part: file.get_slice(f"{name}.{part}").get_shape() for part in kind.parts}
    try:
        kind.check_sizes(shape, sizes)
    except ValueError as error:
        raise ValueError(f"{name} has {error}") from None


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
