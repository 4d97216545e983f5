"""A learned initial memory: the same as a table that begins with it, and learned."""

from dataclasses import replace

import pytest
import torch

from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import MemoryConfig, SparseMemory

WIDTH = 8


def make(**changes) -> SparseMemory:
    settings = {"slots": 16, "active": 3, "heads": 2, "key_width": 4, "value_width": 5}
    layer = SparseMemory(WIDTH, MemoryConfig(**settings | {"initial": "learned"} | changes))
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.double()


def table_of(layer: SparseMemory) -> torch.Tensor:
    """The initial memory as a table (1, H, N, V)."""
    parts = layer.initial.table
    if len(parts) == 1:
        return parts
    return (parts[0, :, :, None] + parts[1, :, None, :]).flatten(1, 2)[None]


@pytest.mark.parametrize("rule", ["delta", "hebbian"])
@pytest.mark.parametrize("addressing", ["topk", "product", "dense"])
def test_it_is_a_table_that_begins_with_it(addressing, rule):
    layer, x = make(addressing=addressing, rule=rule), torch.randn(1, 20, WIDTH).double()
    plain = make(addressing=addressing, rule=rule, initial="empty")
    plain.load_state_dict(layer.state_dict(), strict=False)
    empty, initial = plain.initial_state(1).layers["memory"], table_of(layer).detach()
    y, state = layer(x)
    expected, final = plain(x, FastWeights({"memory": replace(empty, table=initial)}))
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(state.layers["memory"].table + initial, final.layers["memory"].table)


def test_before_anything_is_written_it_is_what_is_recalled():
    layer, x = make(), torch.randn(1, 1, WIDTH).double()
    y, state = layer(x)
    assert y.any()
    assert not state.layers["memory"].table.any()
    torch.nn.init.zeros_(layer.initial.table)
    assert not layer(x)[0].any()


def test_forgetting_leads_back_to_it():
    layer, x = make(retention=True, slots=3), torch.randn(1, 10, WIDTH).double()
    with torch.no_grad():
        layer.meta_learner.gates.weight.zero_()
        layer.meta_learner.gates.bias[:2] = -100.0  # write nothing
        layer.meta_learner.gates.bias[2:] = -100.0  # forget all
    written = torch.randn(1, 2, 3, 5).double()
    state = layer(x)[1].layers["memory"]
    y, _ = layer(x, FastWeights({"memory": replace(state, table=written)}))
    torch.testing.assert_close(y[:, 1:], layer(x, FastWeights({"memory": state}))[0][:, 1:])


@pytest.mark.parametrize("addressing", ["topk", "product"])
def test_it_learns(addressing):
    layer = make(addressing=addressing)
    layer(torch.randn(1, 20, WIDTH).double())[0].square().sum().backward()
    assert layer.initial.table.grad.any()
