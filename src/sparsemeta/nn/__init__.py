"""Modules: addresses, the meta-learner that generates fast weights, and the layer around them."""

from sparsemeta.config import MemoryConfig
from sparsemeta.nn.addressing import Addressing
from sparsemeta.nn.health import Health, observe
from sparsemeta.nn.meta_learner import MetaLearner
from sparsemeta.nn.sparse_memory import SparseMemory, memory_off

__all__ = [
    "Addressing",
    "Health",
    "MemoryConfig",
    "MetaLearner",
    "SparseMemory",
    "memory_off",
    "observe",
]
