"""LoRA of peft and memories live on one model, whichever came first, saved and loaded exactly."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sparsemeta import (
    MemoryCache,
    augment,
    load_adapter,
    memories,
    memory_off,
    save_adapter,
    session,
    strip,
    trainable_parameters,
)
from tests.tiny import assert_same_state as same, draw_zeros

from .zoo import MEMORY, ROWS, TABLES, base_lm, block, plain, stream, text

peft = pytest.importorskip("peft")

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated")

ROOT = Path(__file__).parents[2]
GREEDY = {"do_sample": False, "max_new_tokens": 6}
ORDERS = ["lora first", "memory first"]


def with_lora(model, family="Llama"):
    torch.manual_seed(5)
    names = {"GPT2": ["c_attn"], "Llama": ["q_proj", "v_proj"]}[family]
    config = peft.LoraConfig(r=2, target_modules=names, fan_in_fan_out=family == "GPT2")
    made = peft.get_peft_model(model, config, autocast_adapter_dtype=False)
    for name, weight in made.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight.data, std=0.3)
    return made.double()


def with_memory(model, family="Llama"):
    torch.manual_seed(6)
    augment(model, MEMORY, targets=block(family), output=(ROWS, TABLES), frozen=False)
    draw_zeros(memories(model), 0.8)
    return model


def both(order, family="Llama", seed=3):
    base = base_lm(family, seed=seed)
    if order == "lora first":
        return with_memory(with_lora(base, family), family)
    return with_lora(with_memory(base, family), family)


def logits(model, tokens, **options):
    return model(tokens, past_key_values=MemoryCache(model), **options).logits


@pytest.mark.parametrize("family", ["GPT2", "Llama"])
@torch.no_grad()
def test_either_order_is_one_model(family):
    """By the wrapper or what it wraps, at once or generated, with memories on or off."""
    tokens, found = text(), []
    for order in ORDERS:
        model = both(order, family)
        alone = with_lora(base_lm(family), family)(tokens).logits
        with memory_off(model):
            torch.testing.assert_close(model(tokens).logits, alone)
        inner = model.get_base_model()
        found.append(logits(model, tokens))
        assert not torch.allclose(found[-1], alone)
        assert torch.equal(found[-1], logits(inner, tokens))
        caches = MemoryCache(model), MemoryCache(inner)
        made = [
            m.generate(input_ids=tokens, past_key_values=cache, **GREEDY)
            for m, cache in zip((model, inner), caches, strict=True)
        ]
        assert torch.equal(*made)
        same(caches[0].memory, caches[1].memory)
        assert torch.equal(strip(model)(tokens).logits, alone)
    assert torch.equal(*found)


LOAD = """
import sys, torch, peft
sys.path.insert(0, sys.argv[1])
from sparsemeta import load_adapter
from tests.augmented.test_peft import base_lm, logits, text
torch.set_num_threads(1)
lora = lambda m: peft.PeftModel.from_pretrained(m, "lora", autocast_adapter_dtype=False).double()
memory = lambda m: load_adapter(m, "memory")
with torch.no_grad():
    models = memory(lora(base_lm("Llama"))), lora(memory(base_lm("Llama")))
    torch.save([logits(model.eval(), text()) for model in models], "found.pt")
"""


@pytest.mark.parametrize("order", ORDERS)
def test_saved_and_loaded_in_a_fresh_process(order, tmp_path):
    """In either order, whatever the order was when they were saved."""
    model = both(order).eval()
    model.save_pretrained(tmp_path / "lora")
    save_adapter(model, tmp_path / "memory")
    with torch.no_grad():
        expected = logits(model, text())
    command = [sys.executable, "-W", "ignore", "-c", LOAD, str(ROOT)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert all(torch.equal(found, expected) for found in torch.load(tmp_path / "found.pt"))


@pytest.mark.parametrize("order", ORDERS)
def test_both_are_trained(order):
    model, tokens = both(order).train(), text()
    memories(model).requires_grad_(True)  # which peft stops, if it comes later
    names = {"lora" if "lora_" in name else "memory" for name in trainable_parameters(model)}
    assert names == {"lora", "memory"}
    assert not any(p.requires_grad for n, p in model.named_parameters() if "base_layer" in n)
    with session(model) as s:
        model(tokens)
        s.detach()
        model(tokens, labels=tokens).loss.backward()
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []


def test_a_network_without_language(tmp_path):
    x, feedback = stream("encoder")
    model = plain("encoder")
    with session(model, feedback=feedback):
        expected = model(x)
    wrapped = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["linear1"]))
    with session(wrapped, feedback=feedback) as s:
        torch.testing.assert_close(wrapped(x), expected)  # LoRA begins with nothing
    assert s.memory.batch == 2
    save_adapter(wrapped, tmp_path / "memory")
    assert load_adapter(wrapped, tmp_path / "memory") is wrapped
