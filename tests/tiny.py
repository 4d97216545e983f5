"""A model of bytes, so small that it is made on the spot, in which nothing is zero."""

from dataclasses import replace

import torch

from sparsemeta.config import MemoryConfig, RowsConfig, TablesConfig
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel

VOCABULARY = 257
OUTPUT = ("rows", "tables")
ROWS = RowsConfig(half_lives=(20.0, 0.0), key_width=8)
EXACT = TablesConfig(orders=(0, 1, 2, 4), fading_orders=(0, 1), fading=(0.9, 0.8), bytes=(1, 2))
TABLES = replace(EXACT, cache=12, cache_width=16)


def held(state):
    """What a state or memory holds, by name: of tables and rows what is in use."""
    memory = getattr(state, "memory", state)
    found = (
        {} if memory is state else {k: t for k, t in state.tensors().items() if "memory." not in k}
    )
    for name, layer in memory.layers.items():
        found |= {f"{name}.{part}": tensor for part, tensor in layer.stored().items()}
    return found


def assert_same_state(found, expected, **tolerance):
    found, expected = held(found), held(expected)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, **tolerance)


def draw_zeros(model, std=0.2):
    """Draw every weight that starts at zero at random, and tell tables how bytes are spelt."""
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=std)
    for module in model.modules():
        if hasattr(module, "spell"):
            classes, length = module.spelling.shape
            newest = torch.arange(classes).remainder(256)[:, None]
            module.spell(torch.nn.functional.pad(newest, (length - 1, 0), value=-1))
    return model


def tiny_model(
    *, seed=0, memory_layers=(1,), output=(), slots=32, capacity=None, vocabulary=VOCABULARY
):
    torch.manual_seed(seed)
    memory = MemoryConfig(
        slots=slots, active=4, heads=2, key_width=8, value_width=8, capacity=capacity
    )
    config = ModelConfig(
        layers=2,
        width=32,
        heads=2,
        window=16,
        mlp_width=32,
        memory_layers=memory_layers,
        memory=memory,
        output=output,
        rows=ROWS,
        tables=TABLES,
    )
    return draw_zeros(LanguageModel(config, vocabulary))
