"""`Blueprint`: what the memories of one model look like, without the model."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from sparsemeta.fast_weights.base import LayerState
from sparsemeta.fast_weights.cached import CacheLayout
from sparsemeta.fast_weights.layer import Layout
from sparsemeta.fast_weights.tables import TableLayout

Layouts = Mapping[tuple[Any, ...], Layout | TableLayout | CacheLayout]
"""By their type and what makes states of one alike."""


class _Layers(Protocol):
    """A `FastWeights`."""

    @property
    def layers(self) -> Mapping[str, LayerState]: ...


@dataclass(frozen=True)
class Blueprint:
    """What a file must be to be loaded as a memory of one model, of as many streams as this is.

    It is given to `FastWeights.load` in place of the model. The weights are hashed once, when it is
    made; and since the names, shapes and dtypes of all that such a file holds are known before it
    is read, a file that says otherwise is refused before anything is allocated.

    Attributes:
        fingerprint: of the model.
        layers: an empty memory, by layer name.
        layouts: of the model's modules.
    """

    fingerprint: str
    layers: Mapping[str, LayerState]
    layouts: Layouts

    @classmethod
    def of(cls, model: nn.Module, empty: _Layers) -> Self:
        """Of a model and an empty `FastWeights` of it."""
        return cls(fingerprint(model), empty.layers, layouts(model))


def layouts(model: nn.Module) -> Layouts:
    """What the layers of a model want their states to be."""
    wanted = [getattr(module, "layout", None) for module in model.modules()]
    known = (x for x in wanted if isinstance(x, (Layout, TableLayout, CacheLayout)))
    return {(type(x), *x.shape): x for x in known}


def fingerprint(model: nn.Module) -> str:
    """Identify a model by its slow weights: their names, shapes and values (sha256, hex)."""
    return sha256("", model.state_dict())


def sha256(about: str, tensors: Mapping[str, Tensor]) -> str:
    """Of a text, and of the names, shapes, dtypes and values of tensors."""
    hashed = hashlib.sha256(about.encode())
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        hashed.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return hashed.hexdigest()
