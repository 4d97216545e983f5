"""Modules: the meta-learner that generates fast weights, and the memory layer around it."""

from sparsemeta.config import MemoryConfig
from sparsemeta.nn.meta_learner import MetaLearner
from sparsemeta.nn.sparse_memory import SparseMemory, memory_off

__all__ = ["MemoryConfig", "MetaLearner", "SparseMemory", "memory_off"]
