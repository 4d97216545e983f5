"""`torch.compile` of an augmented network, or of its decoder, changes no result."""

import copy

import pytest
import torch

from sparsemeta import MemoryCache, session
from tests.tiny import assert_same_state as same

from .zoo import call, lm, plain, stream, text

pytestmark = [
    pytest.mark.filterwarnings("ignore:Dynamo"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor"),
]


def two_passes(model, called):
    """Of a network without language: outputs, memory, and gradients."""
    x, feedback = stream("mlp")
    with session(model, feedback=feedback, streams=2) as s:
        call(called, "mlp", x)
        found = call(called, "mlp", x)
    found.square().sum().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    return found, s.memory, grads


def test_a_network_without_language():
    model = plain("mlp").train()
    other = copy.deepcopy(model)
    expected, memory, grads = two_passes(model, model)
    found, after, others = two_passes(other, torch.compile(other, backend="eager"))
    torch.testing.assert_close(found, expected)
    same(after, memory)
    assert grads
    assert grads.keys() == others.keys()
    for name in grads:
        torch.testing.assert_close(others[name], grads[name])


@pytest.mark.parametrize("part", ["model", "decoder"])
@torch.no_grad()
def test_a_language_model(part):
    model, tokens = lm("GPT2"), text()
    expected = MemoryCache(model)
    wanted = [model(tokens, past_key_values=expected).logits for _ in range(2)]
    compiled = torch.compile(model, backend="eager") if part == "model" else model
    if part == "decoder":
        model.base_model.compile(backend="eager")
    cache = MemoryCache(model)
    for logits in wanted:
        torch.testing.assert_close(compiled(tokens, past_key_values=cache).logits, logits)
    same(cache.memory, expected.memory)
