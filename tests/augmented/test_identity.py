"""A network with a new memory is the network; so it is with the memory off, and stripped."""

import copy
from dataclasses import replace

import pytest
import torch

from sparsemeta import MemoryCache, augment, memory_off, session, strip, trainable_parameters
from sparsemeta.fast_weights import fingerprint

from .zoo import FAMILIES, MEMORY, PLAIN, ROWS, TABLES, base_lm, block, call, lm, stream, text


def identity(model):
    """What must not change: classes, names and values."""
    return [(n, type(m)) for n, m in model.named_modules()], fingerprint(model)


@pytest.mark.parametrize("name", PLAIN)
def test_plain(name):
    torch.manual_seed(1)
    make, targets, _ = PLAIN[name]
    base = make().double()  # in training an encoder takes no fused path, which hooks would end
    base.requires_grad_(False)  # torch rounds otherwise where an LSTM needs no gradient
    list(base.parameters())[-1].requires_grad_()
    before, trained = identity(base), [p.requires_grad for p in base.parameters()]
    x, feedback = stream(name)
    expected = call(base, name, x)
    model = augment(base, MEMORY, targets=targets, feedback=2)
    assert model is base
    with session(model, feedback=feedback, streams=2) as s:
        assert torch.equal(call(model, name, x), expected)
        assert torch.equal(call(model, name, x), expected)
    assert s.memory.batch == 2
    assert all(".fast_memory." in f".{n}" for n in trainable_parameters(model))
    kept = {n: p for n, p in model.named_parameters() if "fast_memory" not in n}
    assert not any(p.requires_grad for p in kept.values())

    torch.nn.init.normal_(next(m for n, m in model.named_parameters() if "memory.output" in n))
    with session(model, s.memory, feedback=feedback, streams=2):
        assert not torch.equal(call(model, name, x), expected)
        with memory_off(model):
            assert torch.equal(call(model, name, x), expected)
    with memory_off(model):
        assert torch.equal(call(model, name, x), expected)
    assert strip(model) is base
    assert torch.equal(call(base, name, x), expected)
    assert identity(base) == before
    assert [p.requires_grad for p in base.parameters()] == trained
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in base.modules())


@pytest.mark.parametrize("family", FAMILIES)
def test_causal(family):
    base, tokens = base_lm(family), text()
    before, expected = identity(base), base(tokens).logits
    names = [n for n, _ in base.named_parameters()]
    model = augment(base, MEMORY, targets=block(family), output=[ROWS])
    assert [n for n, _ in model.named_parameters() if "fast_memory" not in n] == names
    with session(model) as s:
        assert torch.equal(model(tokens).logits, expected)
        assert torch.equal(model(tokens).logits, expected)
    assert torch.equal(model(tokens, past_key_values=MemoryCache(model, s.memory)).logits, expected)
    last = model(tokens, past_key_values=MemoryCache(model), logits_to_keep=2).logits
    with memory_off(model):
        assert torch.equal(model(tokens).logits, expected)
        assert torch.equal(last, model(tokens, logits_to_keep=2).logits)
        plain = model.generate(tokens, max_new_tokens=6)
    options = {"max_new_tokens": 6, "past_key_values": MemoryCache(model)}
    assert torch.equal(model.generate(tokens, **options), plain)
    assert identity(strip(model)) == before
    assert torch.equal(base(tokens).logits, expected)
    assert torch.equal(base.generate(tokens, max_new_tokens=6), plain)


def test_tables_that_know_nothing_change_no_bit():
    base, tokens = base_lm("Llama"), text(time=1)
    expected = base(tokens).logits
    model = augment(base, targets=(), output=[replace(TABLES, orders=(1, 2))])
    with session(model) as s:
        assert torch.equal(model(tokens).logits, expected)
        again = model(tokens).logits
    assert not torch.equal(again, expected)  # the token came after itself
    total = again.softmax(-1).sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert list(s.memory.layers) == ["/output/tables.memory"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    base, tokens = base_lm("Llama").to(dtype), text()
    expected = base(tokens).logits
    model = augment(base, MEMORY, targets=block("Llama"), output=[ROWS])
    assert {p.dtype for p in trainable_parameters(model).values()} == {torch.float32}
    with session(model) as s:
        assert torch.equal(model(tokens).logits, expected)
    assert {t.dtype for n, t in s.memory.tensors().items() if n.endswith("table")} == {
        torch.float32
    }


def test_a_copy_has_memories_of_its_own():
    model, tokens = lm("GPT2"), text()
    other = copy.deepcopy(model)
    with session(model) as s, session(other) as t:
        expected = model(tokens).logits
        torch.nn.init.zeros_(other.transformer.h[1].fast_memory.memory.output.weight)
        assert not torch.equal(other(tokens).logits, expected)
        assert s.memory is not t.memory
    strip(other)
    with session(model):
        assert torch.equal(model(tokens).logits, expected)
    with pytest.raises(ValueError, match="not augmented"):
        strip(other)
