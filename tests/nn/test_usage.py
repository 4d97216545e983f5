"""The usage loss, on cases where the answer is known, and what it does to a memory."""

import math

import pytest
import torch

from sparsemeta.nn import Addressing, MemoryConfig, SparseMemory, observe, usage_losses

WIDTH = 16
SPARSE = pytest.mark.parametrize("addressing", ["topk", "product"])


def make(addressing="topk"):
    settings = {"slots": 64, "active": 4, "heads": 2, "key_width": 8, "value_width": 4}
    return SparseMemory(WIDTH, MemoryConfig(addressing=addressing, **settings))


@SPARSE
def test_even_use_costs_nothing(addressing):
    layer, x = make(addressing).addressing, torch.randn(3, 20, WIDTH)
    assert layer.usage_loss(x) > 1e-3
    torch.nn.init.ones_(layer.keys)  # all alike: every context is between all of them
    assert layer.usage_loss(x).item() == pytest.approx(0, abs=1e-6)


@SPARSE
def test_a_single_key_costs_the_most(addressing):
    layer = make(addressing).addressing
    torch.nn.init.constant_(layer.temperature, 7.0)
    most = math.log(64 if addressing == "topk" else 8)
    assert layer.usage_loss(torch.randn(1, 1, WIDTH)).item() == pytest.approx(most, rel=0.05)
    apart = layer.usage_loss(torch.randn(50, 20, WIDTH))  # many contexts, each with a key
    assert apart < most / 2


def test_use_of_half_keys_is_that_of_all_slots_summed():
    """The softmax over S^2 slots is the product of those over the halves: equal marginals."""
    layer, x = make("product").addressing.double(), torch.randn(2, 5, WIDTH).double()
    query, keys = layer._scaled(layer._query(x))
    left, right = query.chunk(2, -1)
    scores = (left @ keys[0].mT)[..., None] + (right @ keys[1].mT)[..., None, :]
    pairs = scores.flatten(-2).softmax(-1).unflatten(-1, (8, 8)).mean((0, 2))  # (H, S, S)
    uneven = [(p * (8 * p).log()).sum(-1).mean() for p in (pairs.sum(-1), pairs.sum(-2))]
    torch.testing.assert_close(layer.usage_loss(x), torch.stack(uneven).mean())


@SPARSE
def test_it_brings_unused_slots_back(addressing):
    layer, x = make(addressing), torch.randn(4, 50, WIDTH)
    with torch.no_grad():  # collapse: all keys but a few point away from all contexts
        layer.addressing.query.weight[:] = layer.addressing.query.weight[:1]
    occupied = []
    optimizer = torch.optim.Adam(layer.addressing.parameters(), lr=0.03)
    for _ in range(50):
        with observe(layer) as health, usage_losses(layer) as losses:
            layer(x)
        losses[0].backward()
        optimizer.step()
        optimizer.zero_grad()
        occupied.append(health[""].entropy)
    assert occupied[-1] > occupied[0] + 0.1


def test_every_memory_is_collected_and_only_inside():
    model = torch.nn.ModuleList([make(), make("product"), make("dense")])
    x = torch.randn(1, 10, WIDTH)
    plain = [layer(x) for layer in model]
    with usage_losses(model) as losses:
        watched = [layer(x) for layer in model]
    for layer in model:
        layer(x)
    # The carried step is addressed as well; a dense address uses every slot anyway.
    contexts = torch.cat([torch.zeros(1, 1, WIDTH), x], 1)
    found = [layer.get_submodule("addressing") for layer in model[:2]]
    assert losses == [x.usage_loss(contexts) for x in found if isinstance(x, Addressing)]
    for (y, state), (again, after) in zip(plain, watched, strict=True):
        assert torch.equal(y, again)
        assert torch.equal(state.layers["memory"].table, after.layers["memory"].table)
    assert not any(m._forward_hooks for m in model.modules() if isinstance(m, Addressing))


def test_a_key_that_no_context_is_near_gives_no_nan():
    layer = make().addressing
    torch.nn.init.constant_(layer.temperature, 6.0)  # e^6: most of the softmax underflows
    layer.usage_loss(torch.randn(1, 5, WIDTH)).backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
