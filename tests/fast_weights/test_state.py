"""The state as a value: copied, cut, joined, emptied, compared and merged."""

import pytest
import torch

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import MemoryConfig, SparseMemory
from tests.fast_weights.states import equal, held


def test_it_is_immutable(state):
    with pytest.raises(AttributeError):
        state.layers = {}
    with pytest.raises(TypeError):
        state.layers["memory"] = None


def test_clone_shares_nothing(state):
    copy = state.clone()
    assert equal(copy, state)
    for name, tensor in copy.tensors().items():
        assert tensor.data_ptr() != state.tensors()[name].data_ptr()


def test_detach_ends_the_graph(layer):
    _, state = layer(torch.randn(1, 5, 8))
    assert state.tensors()["memory.table"].requires_grad
    assert not state.detach().tensors()["memory.table"].requires_grad


def test_select_and_concat_are_inverse(state):
    parts = [state.select([0]), state.select(torch.tensor([False, True, True]))]
    assert [part.batch for part in parts] == [1, 2]
    assert equal(FastWeights.concat(parts), state)


def test_concat_refuses_another_shape(state):
    other = SparseMemory(8, MemoryConfig(slots=9, active=3, heads=2, key_width=8, value_width=6))
    with pytest.raises(StateError, match="one model"):
        FastWeights.concat([state, other(torch.randn(1, 2, 8))[1]])


def test_reset_forgets_the_chosen_streams(state):
    after = state.reset(torch.tensor([True, False, False]))
    assert equal(after.select([1, 2]), state.select([1, 2]))
    for empty in (after.select([0]), state.reset()):
        layer = empty.layers["memory"]
        assert not any(part.any() for part in (layer.table, layer.last, layer.steps))
        assert layer.slot is None or (layer.slot == 50).all()


def test_join_and_child_are_inverse(state):
    joined = FastWeights.join({"1": state, "12": state.reset()})
    assert equal(joined.child("1"), state)
    assert equal(joined.child("12"), state.reset())


def test_size_and_stats(state):
    table = 50 * 6 * 4 if state.layers["memory"].slot is None else 41 * (6 * 4 + 8) + 128 * 4
    assert state.nbytes == 3 * (2 * table + 8 * 4 + 8)
    stats = state.stats()["memory"]
    assert stats["steps"] == 7
    # Six writes (the first step has nothing to key one by) of three slots each at the most.
    assert 0 < stats["used"] <= 6 * 3 / 50
    assert 0 < stats["mean_norm"] <= stats["max_norm"]


def test_what_changed_since(state):
    assert state.diff(state) == {"memory": {"added": 0, "removed": 0, "changed": 0, "norm": 0}}
    index, rows = state.layers["memory"].touched()
    norm = rows.norm().item()
    appeared = state.diff(state.reset())["memory"]
    assert appeared == {"added": len(index), "removed": 0, "changed": 0, "norm": norm}
    vanished = state.reset().diff(state)["memory"]
    assert vanished == {"added": 0, "removed": len(index), "changed": 0, "norm": norm}
    other = state.clone()
    table = other.layers["memory"].table
    one = table.ne(0).any(-1).nonzero()[0].tolist()
    table[tuple(one)] += torch.tensor([3.0, 4.0, 0, 0, 0, 0])
    changed = other.diff(state)["memory"]
    assert changed == {"added": 0, "removed": 0, "changed": 1, "norm": pytest.approx(5)}
    with pytest.raises(StateError, match="not two states of one model"):
        state.diff(state.select([0]))


def test_some_layers_are_reset(state):
    both = FastWeights.join({"1": state, "2": state})
    after = both.reset(layers=["2.memory"])
    assert equal(after.child("1"), state)
    assert equal(after.child("2"), state.reset())
    with pytest.raises(StateError, match=r"no layer is called 3\. The layers are 1\.memory, 2\."):
        both.reset(layers=["3"])


def test_merged_row_by_row(layer, state):
    one = layer(torch.randn(3, 4, 8), state)[1].detach()
    other = layer(torch.randn(3, 2, 8), state)[1].detach()
    merged = one.merge(other, state)
    a, b, start = held(one), held(other), held(state)
    only_a, only_b = (b == start).all(-1), (a == start).all(-1)
    both = ~only_a & ~only_b
    assert only_a.any()
    assert only_b.any()
    assert both.any()
    found = held(merged)
    assert torch.equal(found[only_a], a[only_a])
    assert torch.equal(found[only_b], b[only_b])
    torch.testing.assert_close(found[both], (4 * a[both] + 2 * b[both]) / 6)
    assert merged.layers["memory"].steps.tolist() == [7 + 4 + 2] * 3
    assert torch.equal(merged.layers["memory"].last, other.layers["memory"].last)
    layer(torch.randn(3, 2, 8), merged)  # in the form that the layer wants


def test_merged_with_little_or_nothing(layer, state):
    assert equal(state.merge(state.reset()), state)
    assert equal(state.reset().merge(state), state)
    assert equal(state.merge(state, state), state)
    twice = state.merge(state)
    assert torch.equal(held(twice), held(state))
    assert (twice.layers["memory"].steps == 2 * state.layers["memory"].steps).all()


def test_what_cannot_be_merged(layer, state):
    with pytest.raises(StateError, match="not two states of one model"):
        state.merge(state.select([0]))
    later = layer(torch.randn(3, 2, 8), state)[1].detach()
    with pytest.raises(StateError, match="read less than the base"):
        later.merge(state, later)
