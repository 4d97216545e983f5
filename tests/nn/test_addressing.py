"""Addressing: equation (1)."""

import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.nn import Addressing, MemoryConfig

WIDTH = 16


def make(addressing):
    settings = {"slots": 49, "active": 5, "heads": 3, "key_width": 8, "value_width": 4}
    return Addressing(WIDTH, MemoryConfig(addressing=addressing, **settings))


@pytest.mark.parametrize(
    ("addressing", "active"), [("topk", 5), ("product", 5), ("signed", 5), ("dense", 49)]
)
def test_addresses(addressing, active):
    layer, x = make(addressing), torch.randn(2, 7, WIDTH)
    index, weight = layer(x)
    assert index.shape == weight.shape == (2, 7, 3, active)
    assert index.min() >= 0
    assert index.max() < 49
    torch.testing.assert_close(weight.norm(dim=-1), torch.ones(2, 7, 3))
    assert all((a.unique().numel() == active) for a in index.flatten(0, 2))


@pytest.mark.parametrize("addressing", ["topk", "product", "signed", "dense"])
def test_the_same_context_finds_the_same_slots(addressing):
    layer, x = make(addressing), torch.randn(1, 1, WIDTH)
    index, weight = layer(torch.cat([x, torch.randn(1, 5, WIDTH), 3 * x], dim=1))
    assert torch.equal(index[:, 0], index[:, -1])  # whatever its length
    torch.testing.assert_close(weight[:, 0], weight[:, -1])


@pytest.mark.parametrize("addressing", ["topk", "product", "signed", "dense"])
def test_addressing_learns(addressing):
    layer = make(addressing)
    _, weight = layer(torch.randn(2, 7, WIDTH))
    (weight * torch.randn_like(weight)).sum().backward()
    for name in ("query.weight", "keys", "temperature"):
        # A signed or dense address is scaled to unit norm, whatever its temperature.
        unused = name == "temperature" and addressing in ("signed", "dense")
        assert unused or layer.get_parameter(name).grad.any()


def test_a_product_needs_a_square():
    with pytest.raises(ConfigError, match="the nearest squares are 2025 and 2116"):
        MemoryConfig(slots=2048, addressing="product")


@pytest.mark.parametrize("addressing", ["topk", "product", "signed"])
@pytest.mark.parametrize("active", [1, 5, 49])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_few_contexts_find_what_many_find(addressing, active, dtype):
    settings = {"slots": 49, "active": active, "heads": 3, "key_width": 8, "value_width": 4}
    layer = Addressing(WIDTH, MemoryConfig(addressing=addressing, **settings)).to(dtype)
    x = torch.randn(2, 3, WIDTH, dtype=dtype)
    index, weight = layer(x)  # with a gradient: the way of many
    with torch.no_grad():
        found, found_weight = layer(x)
        one, _ = layer(x[:1, 2:])
    assert found_weight.dtype == weight.dtype
    if dtype != torch.bfloat16:  # there the scores of many are rounded, and what they choose with
        assert torch.equal(found, index)
        assert torch.equal(one, index[:1, 2:])
        torch.testing.assert_close(found_weight, weight)
    else:
        torch.testing.assert_close(found_weight, weight, rtol=0.1, atol=0.1)


@pytest.mark.parametrize("addressing", ["topk", "product"])
def test_few_contexts_that_are_not_numbers_are_not_hidden(addressing):
    layer, x = make(addressing), torch.randn(1, 2, WIDTH)
    x[0, 1] = torch.nan
    with torch.no_grad():
        index, weight = layer(x)
    assert index.min() >= 0
    assert index.max() < 49
    assert weight[0, 0].isfinite().all()
    assert weight[0, 1].isnan().all()
