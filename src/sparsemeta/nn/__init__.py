"""Modules: addresses, the meta-learner that generates fast weights, and the layer around them.

`SparseMemory` augments a layer of any network; `StreamLearner` is one of its own, for streams that
are taught, and `SparseMetaRNN` one for control.
"""

from sparsemeta.config import MemoryConfig
from sparsemeta.nn.addressing import Addressing
from sparsemeta.nn.health import Health, observe
from sparsemeta.nn.meta_learner import MetaLearner
from sparsemeta.nn.meta_rnn import MetaRNNState, Percept, SparseMetaRNN
from sparsemeta.nn.sparse_memory import SparseMemory, memory_off
from sparsemeta.nn.stream_learner import StreamLearner, StreamState
from sparsemeta.nn.usage import usage_losses

__all__ = [
    "Addressing",
    "Health",
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
