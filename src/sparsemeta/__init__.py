"""Networks that keep learning while they run, by a forward pass alone.

The public names load what they need when they are first used: `import sparsemeta` is free.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsemeta.config import MemoryConfig
    from sparsemeta.errors import (
        CheckpointError,
        ConfigError,
        CorpusError,
        MissingExtra,
        ScanError,
        SparseMetaError,
        StateError,
        StreamError,
        TrainingError,
    )
    from sparsemeta.fast_weights import FastWeights, LayerWeights
    from sparsemeta.nn import (
        Addressing,
        Health,
        MetaLearner,
        SparseMemory,
        SparseMetaRNN,
        StreamLearner,
        memory_off,
        observe,
    )
    from sparsemeta.ops import (
        checked,
        dense_address,
        product_address,
        scan,
        signed_address,
        topk_address,
    )
    from sparsemeta.streams.online import OnlineClassifier, OnlineRegressor

__version__ = "0.1.0"

__all__ = [
    "Addressing",
    "CheckpointError",
    "ConfigError",
    "CorpusError",
    "FastWeights",
    "Health",
    "LayerWeights",
    "MemoryConfig",
    "MetaLearner",
    "MissingExtra",
    "OnlineClassifier",
    "OnlineRegressor",
    "ScanError",
    "SparseMemory",
    "SparseMetaError",
    "SparseMetaRNN",
    "StateError",
    "StreamError",
    "StreamLearner",
    "TrainingError",
    "__version__",
    "checked",
    "dense_address",
    "memory_off",
    "observe",
    "product_address",
    "scan",
    "signed_address",
    "topk_address",
]

_HOMES = {
    "config": ("MemoryConfig",),
    "errors": ("MissingExtra", *(name for name in __all__ if name.endswith("Error"))),
    "fast_weights": ("FastWeights", "LayerWeights"),
    "nn": (
        "Addressing",
        "Health",
        "MetaLearner",
        "SparseMemory",
        "SparseMetaRNN",
        "StreamLearner",
        "memory_off",
        "observe",
    ),
    "streams.online": ("OnlineClassifier", "OnlineRegressor"),
    "ops": (
        "checked",
        "dense_address",
        "product_address",
        "scan",
        "signed_address",
        "topk_address",
    ),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
