"""`Blueprint`: what the memories of one model look like, without the model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from torch import nn

from sparsemeta.fast_weights.base import LayerState


@dataclass(frozen=True)
class Blueprint:
    """What a file must be to be loaded as a memory of one model, of as many streams as this is.

    A file is loaded with it in place of the model: the weights are hashed once, here, and the
    names, shapes and dtypes of all that the file holds are known before it is read.

    Attributes:
        fingerprint: of the model.
        layers: an empty memory, by layer name.
    """

    fingerprint: str
    layers: Mapping[str, LayerState]

    @classmethod
    def of(cls, model: nn.Module, empty: Any) -> Self:
        """Of a model and an empty `FastWeights` of it, such as a first `initial_state` gives."""
        raise NotImplementedError
