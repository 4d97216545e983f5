"""`FastWeights`: what a network has learned while running, as an immutable value.

A layer takes it and returns a new one; nothing is ever stored in the module. So a state can be
kept, forked, compared and erased, and distributed wrappers, which broadcast buffers, cannot destroy
it. On disk it holds the touched rows only, with the fingerprint of the model that made it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from sparsemeta.errors import StateError

FORMAT = "sparsemeta.fast_weights/1"


@dataclass(frozen=True)
class LayerWeights:
    """The state of one adapted layer.

    Attributes:
        table: (B, H, N, V) float32, the slots.
        last: (B, D) float32, the layer's input at the last real step: the context that the next
            step's write is keyed by.
        steps: (B,) int64, real steps since the memory was empty.
    """

    table: Tensor
    last: Tensor
    steps: Tensor


@dataclass(frozen=True)
class FastWeights:
    """The states of all adapted layers of one model, by layer name; B streams side by side."""

    layers: Mapping[str, LayerWeights]

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def _map(self, change: Callable[[Tensor], Tensor]) -> FastWeights:
        return FastWeights(
            {
                name: LayerWeights(*(change(getattr(layer, f.name)) for f in fields(layer)))
                for name, layer in self.layers.items()
            }
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as `from_tensors` takes them."""
        return {
            f"{name}.{field.name}": getattr(layer, field.name)
            for name, layer in self.layers.items()
            for field in fields(layer)
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> FastWeights:
        """The inverse of `tensors`."""
        names = dict.fromkeys(key.rpartition(".")[0] for key in tensors)
        return cls(
            {
                n: LayerWeights(*(tensors[f"{n}.{f.name}"] for f in fields(LayerWeights)))
                for n in names
            }
        )

    def child(self, name: str) -> FastWeights:
        """The part of one sub-module: the inverse of `join`."""
        prefix = name + "."
        found = {k.removeprefix(prefix): v for k, v in self.layers.items() if k.startswith(prefix)}
        return FastWeights(found)

    @staticmethod
    def join(children: Mapping[str, FastWeights]) -> FastWeights:
        """The states of named sub-modules as the state of the module around them."""
        return FastWeights(
            {f"{name}.{k}": v for name, child in children.items() for k, v in child.layers.items()}
        )

    @property
    def batch(self) -> int:
        """How many streams it holds (B)."""
        return next(iter(self.layers.values())).steps.shape[0]

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def detach(self) -> FastWeights:
        """The same values, cut off from the graph: the end of a truncated segment."""
        return self._map(Tensor.detach)

    def clone(self) -> FastWeights:
        """A copy that shares no storage."""
        return self._map(Tensor.clone)

    def to(self, device: torch.device | str) -> FastWeights:
        """The same state on another device; its dtypes never change."""
        return self._map(lambda tensor: tensor.to(device))

    def select(self, rows: Tensor | list[int] | slice) -> FastWeights:
        """Some of the streams: indices or a boolean mask over B."""
        return self._map(lambda tensor: tensor[rows])

    @staticmethod
    def concat(states: list[FastWeights]) -> FastWeights:
        """Streams of several states of one model side by side.

        Raises:
            StateError: the states do not have the same layers and shapes.
        """
        parts = [state.tensors() for state in states]
        shapes = {tuple((key, t.shape[1:]) for key, t in part.items()) for part in parts}
        if len(shapes) != 1:
            raise StateError("concat needs states of one model: their layers or shapes differ")
        return FastWeights.from_tensors({k: torch.cat([p[k] for p in parts]) for k in parts[0]})

    def reset(self, mask: Tensor | None = None) -> FastWeights:
        """Forget: an empty memory, for the streams where `mask` (B,) is True, or for all."""
        if mask is None:
            return self._map(torch.zeros_like)
        return self._map(lambda t: torch.where(mask.view(-1, *[1] * (t.dim() - 1)), 0, t))

    def stats(self) -> dict[str, dict[str, float]]:
        """Per layer: share of slots in use, mean and largest row norm, steps read, bytes."""
        report = {}
        for name, layer in self.layers.items():
            norms = layer.table.norm(dim=-1)
            used = norms > 0
            report[name] = {
                "used": used.float().mean().item(),
                "mean_norm": norms.sum().item() / max(1, int(used.sum())),
                "max_norm": norms.max().item(),
                "steps": layer.steps.float().mean().item(),
                "bytes": float(sum(getattr(layer, f.name).nbytes for f in fields(layer))),
            }
        return report

    def save(self, path: str | Path, model: nn.Module) -> None:
        """Write the touched rows to a safetensors file, aside first, then renamed into place.

        Args:
            path: the file.
            model: the model whose memory this is; its fingerprint goes into the file.
        """
        path = Path(path)
        stored, shapes = {}, {}
        for key, tensor in self.detach().to("cpu").tensors().items():
            if key.endswith(".table"):
                flat = tensor.flatten(0, 2)
                touched = flat.ne(0).any(-1).nonzero().squeeze(-1)
                stored[key + ".index"], stored[key + ".rows"] = touched, flat[touched]
                shapes[key] = list(tensor.shape)
            else:
                stored[key] = tensor.contiguous()
        header = {"format": FORMAT, "fingerprint": fingerprint(model), "shapes": json.dumps(shapes)}
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_file(stored, aside, metadata=header)
            aside.replace(path)
        except (OSError, SafetensorError) as error:
            raise StateError(f"{path}: cannot be written: {error}. Nothing was changed.") from None
        finally:
            aside.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path, model: nn.Module) -> FastWeights:
        """Read a memory back, bit for bit.

        Args:
            path: the file.
            model: the model that will use it.

        Raises:
            StateError: the file is missing, damaged, holds values that are not finite, or was made
                by another model.
        """
        path = Path(path)
        header, stored = _read(path)
        if header.get("format") != FORMAT:
            raise StateError(
                f"{path}: not a memory of this version of sparsemeta "
                f"(format {header.get('format')!r}, expected {FORMAT!r})"
            )
        if header["fingerprint"] != fingerprint(model):
            raise StateError(
                f"{path}: this memory belongs to another model (or to other weights of this one). "
                "Load the model that made it, or start with an empty memory."
            )
        try:
            for key, shape in json.loads(header["shapes"]).items():
                index, rows = stored.pop(key + ".index"), stored.pop(key + ".rows")
                table = rows.new_zeros(shape)
                table.flatten(0, 2)[index] = rows
                stored[key] = table
        except (KeyError, IndexError, ValueError, RuntimeError) as error:
            raise _damaged(path, error) from None
        for key, tensor in stored.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise StateError(
                    f"{path}: {key} holds NaN or infinity. Discard this file and read again "
                    "from an earlier memory, or from none."
                )
        return cls.from_tensors(stored)


def fingerprint(model: nn.Module) -> str:
    """Identify a model by its slow weights: their names, shapes and values (sha256, hex)."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    if not path.is_file():
        raise StateError(f"{path}: no such memory file")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> StateError:
    return StateError(
        f"{path}: damaged or not a memory file ({error}). Restore it from a copy, "
        "or start with an empty memory."
    )
