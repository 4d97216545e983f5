"""The memory layer: what it is at the start, and what it keeps to over time."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import ConfigError, StateError
from sparsemeta.nn import MemoryConfig, SparseMemory, memory_off

WIDTH = 16


def make(**changes) -> SparseMemory:
    """A layer with every slow weight drawn at random, in float64."""
    torch.manual_seed(1)
    settings = {"slots": 20, "active": 3, "heads": 2, "key_width": 8, "value_width": 5}
    layer = SparseMemory(WIDTH, MemoryConfig(**settings | {"retention": True} | changes)).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


@pytest.fixture(
    params=[
        {},
        {"addressing": "dense"},
        {"rule": "hebbian"},
        {"retention": False},
        {"slots": 25, "addressing": "product", "initial": "learned"},
    ]
)
def layer(request):
    return make(**request.param)


def test_a_new_layer_adds_nothing():
    layer = SparseMemory(WIDTH, MemoryConfig())
    x = torch.randn(2, 30, WIDTH)
    assert not layer(x)[0].any()


def test_off_it_adds_nothing_and_leaves_the_state(layer):
    x = torch.randn(2, 30, WIDTH, dtype=torch.float64)
    y, state = layer(x)
    assert y.any()
    with memory_off(layer):
        y, after = layer(x, state)
    assert not y.any()
    assert after is state
    assert layer(x, state)[0].any()


@given(cuts=st.lists(st.integers(1, 23), max_size=4, unique=True), data=st.integers(0, 9))
@settings(max_examples=15, deadline=None)
def test_any_split_with_masks_and_resets_is_one_pass(cuts, data):
    layer = make()
    g = torch.Generator().manual_seed(data)
    x = torch.randn(2, 24, WIDTH, generator=g, dtype=torch.float64)
    mask, reset = torch.rand(2, 24, generator=g) > 0.3, torch.rand(2, 24, generator=g) < 0.15
    marks = {"mask": mask, "reset": reset, "revealed": torch.rand(2, 24, generator=g) > 0.3}
    whole, final = layer(x, **marks)
    state, parts = None, []
    edges = [0, *sorted(cuts), 24]
    for a, b in pairwise(edges):
        y, state = layer(x[:, a:b], state, **{name: mark[:, a:b] for name, mark in marks.items()})
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1)[mask], whole[mask], rtol=1e-10, atol=1e-12)
    assert torch.equal(state.layers["memory"].steps, final.layers["memory"].steps)


@pytest.mark.parametrize("capacity", [None, 20])
def test_what_is_not_revealed_is_read_and_not_written(capacity):
    layer, x = make(capacity=capacity), torch.randn(2, 24, WIDTH, dtype=torch.float64)
    _, before = layer(x[:, :3])
    hidden = torch.tensor([[False], [True]]).expand(2, 21)
    y, after = layer(x[:, 3:], before, revealed=hidden)
    written, expected = layer(x[:, 3:], before)
    torch.testing.assert_close(y[1], written[1])
    assert not torch.allclose(y[0], written[0])
    tables = [state.select([0]).layers["memory"].touched() for state in (before, after)]
    assert all(torch.equal(*pair) for pair in zip(*tables, strict=True))
    steps = [state.layers["memory"].steps for state in (after, expected)]
    assert torch.equal(*steps)
    reversed_, _ = layer(x[:, 3:].flip(1), before, revealed=hidden)
    torch.testing.assert_close(reversed_[0].flip(0), y[0])  # the memory stayed what it was


def test_token_by_token_is_one_pass(layer):
    x = torch.randn(2, 24, WIDTH, dtype=torch.float64)
    whole, final = layer(x)
    state, parts = None, []
    with torch.inference_mode():
        for step in x.split(1, dim=1):
            y, state = layer(step, state, donate=True)
            parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-10, atol=1e-12)
    table, after = final.layers["memory"].table, state.layers["memory"].table
    torch.testing.assert_close(after, table, rtol=1e-10, atol=1e-12)


def test_causality(layer):
    x = torch.randn(1, 20, WIDTH, dtype=torch.float64)
    changed = x.clone()
    changed[:, 12:] += 1
    before, after = layer(x)[0], layer(changed)[0]
    assert torch.equal(before[:, :12], after[:, :12])
    assert not torch.allclose(before[:, 12:], after[:, 12:])


def test_what_came_is_recalled_where_it_was_followed():
    """A write is keyed by the step before it: x_1 recalls what followed x_0 when x_1 = x_0."""
    layer = make(retention=False, active=1)
    torch.nn.init.zeros_(layer.meta_learner.gates.weight)
    torch.nn.init.constant_(layer.meta_learner.gates.bias, 50.0)  # write at full strength
    x = torch.randn(1, 3, WIDTH, dtype=torch.float64)
    x = torch.cat([x, x[:, :1]], dim=1)  # a b c a
    feedback = torch.randn(1, 4, WIDTH, dtype=torch.float64)
    _, state = layer(x[:, :2], feedback=feedback[:, :2])
    index, _ = layer.addressing(x[:, :1])
    made = layer.meta_learner(x[:, :1], x[:, 1:2], feedback[:, 1:2])
    stored = state.layers["memory"].table[0].gather(1, index[0, 0, :, :, None].expand(-1, -1, 5))
    torch.testing.assert_close(stored[:, 0], made.value[0, 0])


def test_left_padding_changes_nothing(layer):
    x = torch.randn(2, 10, WIDTH, dtype=torch.float64)
    padded = torch.cat([torch.full((2, 4, WIDTH), 7.0, dtype=torch.float64), x], dim=1)
    mask = torch.arange(14).expand(2, -1) >= 4
    y, state = layer(x)
    y_padded, state_padded = layer(padded, mask=mask)
    torch.testing.assert_close(y_padded[:, 4:], y)
    for name, tensor in state.tensors().items():
        torch.testing.assert_close(state_padded.tensors()[name], tensor)


def test_a_reset_is_a_fresh_start_with_its_gradients(layer):
    x = torch.randn(1, 12, WIDTH, dtype=torch.float64, requires_grad=True)
    reset = torch.zeros(1, 12, dtype=torch.bool)
    reset[:, 7] = True
    together, _ = layer(x, reset=reset)
    apart = torch.cat([layer(x[:, :7])[0], layer(x[:, 7:])[0]], dim=1)
    torch.testing.assert_close(together, apart)
    loss = torch.randn_like(apart)
    for a, b in zip(
        torch.autograd.grad((together * loss).sum(), [x, *layer.parameters()]),
        torch.autograd.grad((apart * loss).sum(), [x, *layer.parameters()]),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("addressing", ["topk", "dense"])
def test_autocast_leaves_the_memory_in_float32(addressing):
    layer = make(addressing=addressing).float()
    x = torch.randn(2, 100, WIDTH)
    with torch.autocast("cpu", torch.bfloat16):
        y, state = layer(x)
    y.float().sum().backward()
    assert state.layers["memory"].table.dtype == torch.float32
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("addressing", ["topk", "dense"])
def test_bf16_weights_leave_the_memory_in_float32(addressing):
    layer = make(addressing=addressing).bfloat16()
    x = torch.randn(2, 20, WIDTH, dtype=torch.bfloat16)
    y, state = layer(x)
    y, state = layer(x, state)
    assert y.dtype == torch.bfloat16
    assert state.layers["memory"].table.dtype == torch.float32


def test_streams_do_not_touch(layer):
    x = torch.randn(4, 9, WIDTH, dtype=torch.float64)
    order = torch.tensor([3, 1, 0, 2])
    y, state = layer(x)
    y_permuted, state_permuted = layer(x[order])
    torch.testing.assert_close(y_permuted, y[order])
    for name, tensor in state.select(order).tensors().items():
        torch.testing.assert_close(state_permuted.tensors()[name], tensor)


def test_every_slow_weight_learns(layer):
    layer(torch.randn(2, 30, WIDTH, dtype=torch.float64))[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in layer.parameters())


def test_a_long_stream_stays_finite_and_bounded():
    """Invariant 7 at test size; the million-step stream is a benchmark."""
    layer = SparseMemory(WIDTH, MemoryConfig(slots=32, active=4, heads=2, value_width=8))
    state, largest = None, []
    with torch.inference_mode():
        for _ in range(20):
            _, state = layer(torch.randn(1, 1000, WIDTH), state)
            largest.append(state.stats()["memory"]["max_norm"])
    assert max(largest[10:]) < 2 * max(largest[:10])


def test_a_state_of_another_shape_is_refused(layer):
    _, state = layer(torch.randn(2, 3, WIDTH, dtype=torch.float64))
    with pytest.raises(StateError, match="same streams"):
        layer(torch.randn(3, 3, WIDTH, dtype=torch.float64), state)


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="only 4 slots"):
        MemoryConfig(slots=4, active=5)
    with pytest.raises(ConfigError, match=r"memory\.heads = 0 must be at least 1"):
        MemoryConfig(heads=0)
