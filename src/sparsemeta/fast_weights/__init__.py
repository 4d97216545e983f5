"""What a network has learned while running.

layer.py  the state of one layer: a slot for every row, or only the rows that were written
state.py  the states of all layers of a model, as one immutable value
file.py   states on disk
"""

from sparsemeta.fast_weights.file import (
    Origin as Origin,
    fingerprint as fingerprint,
    read_origin as read_origin,
)
from sparsemeta.fast_weights.layer import LayerWeights as LayerWeights, Layout as Layout
from sparsemeta.fast_weights.state import FastWeights as FastWeights
