"""What a network has learned while running.

base.py       what the states of all kinds of layers have in common
cached.py     the last hidden states, and what followed them
layer.py      a table of rows: one for every slot, or only those that were written
tables.py     tables slot -> weights of the tokens that followed, and what a gate learned of them
entries.py    what such tables hold, as a list
structure.py  whether what a file says are tables can be some
state.py      the states of all layers of a model, as one immutable value
blueprint.py  what the states of one model look like
file.py       states on disk
"""

from sparsemeta.fast_weights.base import LayerState as LayerState
from sparsemeta.fast_weights.blueprint import Blueprint as Blueprint, fingerprint as fingerprint
from sparsemeta.fast_weights.cached import CachedStates as CachedStates, CacheLayout as CacheLayout
from sparsemeta.fast_weights.entries import Entries as Entries
from sparsemeta.fast_weights.file import Origin as Origin, read_origin as read_origin
from sparsemeta.fast_weights.layer import LayerWeights as LayerWeights, Layout as Layout
from sparsemeta.fast_weights.state import FastWeights as FastWeights
from sparsemeta.fast_weights.tables import (
    TableLayout as TableLayout,
    TableWeights as TableWeights,
)
