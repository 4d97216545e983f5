"""Modules: a layer with a memory, what it is made of, and networks around it.

sparse_memory.py   `SparseMemory`: augments a layer of any network
addressing.py      `Addressing`: where a context is kept
meta_learner.py    `MetaLearner`: what is written of it, how strongly, and what is forgotten
initial.py         `InitialMemory`: what is recalled before anything is written
stream_learner.py  `StreamLearner`: a network for streams that are taught; heads.py: its ends
meta_rnn.py        `SparseMetaRNN`: a network for control
health.py          `observe`: how well a memory is used
usage.py           `usage_losses`: a remedy against slots that fall out of use
"""

from sparsemeta.config import MemoryConfig
from sparsemeta.nn.addressing import Addressing
from sparsemeta.nn.health import Health, observe
from sparsemeta.nn.initial import InitialMemory
from sparsemeta.nn.meta_learner import Generated, MetaLearner
from sparsemeta.nn.meta_rnn import MetaRNNState, Percept, SparseMetaRNN
from sparsemeta.nn.sparse_memory import SparseMemory, memory_off
from sparsemeta.nn.stream_learner import LessonLearner, StreamLearner, StreamState
from sparsemeta.nn.usage import usage_losses

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
