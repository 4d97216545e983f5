"""A small model's memories, and a store of them."""

import os

import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.fast_weights import Blueprint, FastWeights, LayerWeights, Origin
from sparsemeta.nn import SparseMemory
from sparsemeta.serve.store import Store

FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where there is a disk on which a sync costs nothing: a killed process does not need it."""
CONFIG = MemoryConfig(slots=16, active=2, heads=1, key_width=4, value_width=4)


def blueprint() -> Blueprint:
    """Of the same small model every time."""
    torch.manual_seed(0)
    layer = SparseMemory(4, CONFIG)
    return Blueprint.of(layer, layer.initial_state(1))


def content(of: Blueprint, number: int) -> bytes:
    """A memory file in which a number can be found again."""
    made = {}
    for name, layer in of.layers.items():
        assert isinstance(layer, LayerWeights)
        table = layer.table.clone()
        table[0, 0, number % 16] = float(number + 1)
        made[name] = LayerWeights(table, layer.last, layer.steps + number)
    return FastWeights(made).encode(Origin(of.fingerprint))


def open_store(folder, **options) -> Store:
    """A store, opened; its clock stands still unless it is given another."""
    return Store(folder, blueprint(), **{"clock": lambda: 1e9, **options})
