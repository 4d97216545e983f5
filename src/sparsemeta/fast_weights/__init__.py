"""What a network has learned while running.

layer.py  the state of one layer: a slot for every row, or only the rows that were written
state.py  the states of all layers of a model, as one immutable value
file.py   states on disk
"""

from sparsemeta.fast_weights.file import Origin, fingerprint, read_origin
from sparsemeta.fast_weights.layer import LayerWeights, Layout
from sparsemeta.fast_weights.state import FastWeights

__all__ = ["FastWeights", "LayerWeights", "Layout", "Origin", "fingerprint", "read_origin"]
