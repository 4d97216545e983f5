"""Streams of several processes, side by side in one checkpoint."""

import dataclasses

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.lm.modelling import LanguageModel, LMState
from tests.lm.runs import MODEL

GROWING = MemoryConfig(
    slots=1024, active=4, heads=1, key_width=8, value_width=8, addressing="product", capacity=1024
)


@pytest.mark.parametrize("memory", [MODEL.memory, GROWING], ids=["dense", "growing"])
def test_states_side_by_side_go_on_as_each_would(memory):
    model = LanguageModel(dataclasses.replace(MODEL, memory=memory), 50)
    few, many, then = (torch.randint(0, n, (2, 60)) for n in (3, 50, 50))
    with torch.no_grad():
        states = [model(tokens)[1] for tokens in (few, many)]
        sizes = {layer.table.shape[2] for s in states for layer in s.memory.layers.values()}
        assert len(sizes) == (2 if memory is GROWING else 1)
        apart = torch.cat([model(then, state)[0] for state in states])
        both = LMState.concat(states)
        together = model(then.repeat(2, 1), both)[0]
        torch.testing.assert_close(together, apart)
        torch.testing.assert_close(model(then, both.select(slice(2, 4)))[0], apart[2:])
