"""Modules: a layer with a memory, what it is made of, and networks around it.

sparse_memory.py   `SparseMemory`: augments a layer of any network
parts.py           what it is made of: `Addressing`, `MetaLearner`, `InitialMemory`
stream_learner.py  `StreamLearner`: a network for streams that are taught
meta_rnn.py        `SparseMetaRNN`: a network for control
health.py          `observe`: how well a memory is used; `usage_losses`: a remedy where it is not
"""

from sparsemeta.config import MemoryConfig
from sparsemeta.nn.health import Health, observe, usage_losses
from sparsemeta.nn.meta_rnn import MetaRNNState, Percept, SparseMetaRNN
from sparsemeta.nn.parts import Addressing, Generated, InitialMemory, MetaLearner
from sparsemeta.nn.sparse_memory import SparseMemory, memory_off
from sparsemeta.nn.stream_learner import LessonLearner, StreamLearner, StreamState

__all__ = [
    "Addressing",
    "Generated",
    "Health",
    "InitialMemory",
    "LessonLearner",
    "MemoryConfig",
    "MetaLearner",
    "MetaRNNState",
    "Percept",
    "SparseMemory",
    "SparseMetaRNN",
    "StreamLearner",
    "StreamState",
    "memory_off",
    "observe",
    "usage_losses",
]
