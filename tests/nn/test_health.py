"""What is reported of a memory, on cases where the answer is known."""

import pytest
import torch

from sparsemeta.nn import Health, MemoryConfig, SparseMemory, observe

WIDTH = 16


def make(**changes):
    settings = {"slots": 100, "active": 4, "heads": 2, "key_width": 8, "value_width": 4}
    return SparseMemory(WIDTH, MemoryConfig(**settings | changes))


def test_every_step_is_counted_and_only_inside():
    layer, x = make(), torch.randn(3, 20, WIDTH)
    with observe(layer) as health:
        layer(x)
    layer(x)
    # One more step than was given: the carried one is addressed as well.
    assert health[""].uses.sum(-1).tolist() == [3 * 21 * 4] * 2
    assert not layer.addressing._forward_hooks


def test_watching_changes_nothing():
    layer, x = make(), torch.randn(1, 20, WIDTH)
    torch.nn.init.normal_(layer.output.weight)
    with observe(layer):
        watched, _ = layer(x)
    assert torch.equal(watched, layer(x)[0])


def test_memories_are_named_after_their_place():
    model = torch.nn.ModuleDict({"a": make(), "b": torch.nn.Linear(2, 2), "c": make()})
    with observe(model) as health:
        pass
    assert list(health) == ["a", "c"]


@pytest.mark.parametrize(
    ("uses", "occupancy", "entropy", "hot"),
    [
        ([1] * 100, 1.0, 1.0, 0.01),
        ([50] + [0] * 99, 0.01, 0.0, 1.0),
        ([1] * 10 + [0] * 90, 0.1, 0.5, 0.1),
    ],
)
def test_use(uses, occupancy, entropy, hot):
    health = Health(torch.tensor([uses]))
    assert health.occupancy == pytest.approx(occupancy)
    assert health.entropy == pytest.approx(entropy, abs=1e-6)
    assert health.hot == pytest.approx(hot)


def test_an_ignored_memory_is_reported_and_a_used_one_is_not():
    layer, x = make(), torch.randn(1, 50, WIDTH)
    with observe(layer) as health:
        layer(x)
    assert any("ignores this memory" in text for text in health[""].warnings())
    assert health[""].rate == pytest.approx(0.5)
    assert 0 < health[""].gate < 1
    torch.nn.init.normal_(layer.output.weight)
    with observe(layer) as health:
        layer(x)
    assert health[""].warnings() == []


def test_a_silent_meta_learner_and_collapsed_slots_are_reported():
    layer = make()
    torch.nn.init.constant_(layer.meta_learner.gates.bias, -9.0)
    with observe(layer) as health:
        layer(torch.ones(1, 2000, WIDTH))  # one context only: always the same slots
    text = str(health[""])
    assert "hardly anything is written" in text
    assert "its slots have collapsed: 9" in text


def test_what_is_written_is_measured():
    layer, x = make(), torch.randn(1, 50, WIDTH)
    torch.nn.init.constant_(layer.meta_learner.gates.bias, 100.0)  # rate 1
    norms = layer.meta_learner.value(torch.cat([x, x], -1)).unflatten(-1, (2, 4)).norm(dim=-1)
    with observe(layer) as health:
        layer(x)
    assert health[""].rate == pytest.approx(1)
    assert health[""].write_norm == pytest.approx(norms.mean().item(), rel=1e-5)
