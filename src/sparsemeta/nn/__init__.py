"""Modules: a layer with a memory, what it is made of, and networks around it.

adaptive.py        `AdaptiveLayer`: what has fast weights, and can be switched off
sparse_memory.py   `SparseMemory`: augments a layer of any network
row_memory.py      `RowMemory`: augments an output layer, by a row for each class that came
prototypes.py      `PrototypeMemory`: tells labels apart, by a row for each that was taught
predecessors.py    which step came before each, across masks and resets
parts.py           what a `SparseMemory` is made of: `Addressing`, `MetaLearner`, `InitialMemory`
table_memory.py    `TableMemory`: tables of what followed contexts, mixed into a prediction
state_cache.py     `StateCache`: what followed hidden states like the present one, a head of tables
pending.py         `Pending`: what was predicted of the next token, from segment to segment
stream_learner.py  `StreamLearner`: a network for streams that are taught
meta_rnn.py        `SparseMetaRNN`: a network for control
health.py          `observe`: how well a memory is used; `usage_losses`: a remedy where it is not
"""

from sparsemeta.config import MemoryConfig as MemoryConfig, RowsConfig as RowsConfig
from sparsemeta.nn.adaptive import AdaptiveLayer as AdaptiveLayer, memory_off as memory_off
from sparsemeta.nn.health import Health as Health, observe as observe, usage_losses as usage_losses
from sparsemeta.nn.meta_rnn import (
    MetaRNNState as MetaRNNState,
    Percept as Percept,
    SparseMetaRNN as SparseMetaRNN,
)
from sparsemeta.nn.parts import (
    Addressing as Addressing,
    Generated as Generated,
    InitialMemory as InitialMemory,
    MetaLearner as MetaLearner,
)
from sparsemeta.nn.pending import Pending as Pending
from sparsemeta.nn.prototypes import PrototypeMemory as PrototypeMemory
from sparsemeta.nn.row_memory import RowMemory as RowMemory
from sparsemeta.nn.sparse_memory import SparseMemory as SparseMemory
from sparsemeta.nn.state_cache import StateCache as StateCache
from sparsemeta.nn.stream_learner import (
    LessonLearner as LessonLearner,
    StreamLearner as StreamLearner,
    StreamState as StreamState,
)
from sparsemeta.nn.table_memory import TableMemory as TableMemory, watch_gate as watch_gate
from sparsemeta.ops import Scores as Scores
