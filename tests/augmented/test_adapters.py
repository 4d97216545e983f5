"""An adapter is a folder: exact in another base of the same weights, and refused by any other."""

import json

import pytest
import safetensors.torch
import torch
from torch import nn

from sparsemeta import (
    MemoryCache,
    augment,
    load_adapter,
    memories,
    save_adapter,
    session,
    strip,
    trainable_parameters,
)
from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.files import DIGESTS

from .zoo import MEMORY, base_lm, call, lm, plain, stream, text

WEIGHTS = "adapter_model.safetensors"


def mlp():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3)).double().eval()


@pytest.fixture
def saved(tmp_path):
    model = plain("mlp")
    save_adapter(model, tmp_path / "adapter")
    return model, tmp_path / "adapter"


def test_loaded_exactly(saved):
    model, folder = saved
    x, feedback = stream("mlp")
    found = load_adapter(mlp(), folder)
    for _ in range(2):
        with session(model, feedback=feedback, streams=2) as s:
            expected = call(model, "mlp", x)
        with session(found, feedback=feedback, streams=2) as t:
            assert torch.equal(call(found, "mlp", x), expected)
        assert t.memory.tensors().keys() == s.memory.tensors().keys()
        nn.init.normal_(next(memories(found).parameters()))
        assert load_adapter(found, folder) is found  # which is augmented alike
    assert trainable_parameters(found).keys() == trainable_parameters(model).keys()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_base_may_be_in_another_dtype(saved, dtype):
    _, folder = saved
    assert memories(load_adapter(mlp().to(dtype), folder))


def test_of_a_language_model(tmp_path):
    model, tokens = lm("GPT2"), text()
    save_adapter(model, tmp_path / "adapter")
    found = load_adapter(base_lm("GPT2"), tmp_path / "adapter")
    logits = (m(tokens, past_key_values=MemoryCache(m)).logits for m in (model, found))
    assert torch.equal(*logits)
    for other in (base_lm("GPT2", seed=4), base_lm("Llama")):
        before = [n for n, _ in other.named_modules()]
        with pytest.raises(CheckpointError, match="belongs to another base"):
            load_adapter(other, tmp_path / "adapter")
        assert [n for n, _ in other.named_modules()] == before


def test_of_another_base(saved):
    _, folder = saved
    other = mlp()
    with torch.no_grad():
        other[2].weight[1, 2] += 0.05
    with pytest.raises(CheckpointError, match=r"another base: its weights are others.*2\.weight"):
        load_adapter(other, folder)


def test_augmented_in_another_way(saved):
    _, folder = saved
    with pytest.raises(ConfigError, match="augmented in another way"):
        load_adapter(augment(mlp(), MEMORY, targets="2"), folder)
    with pytest.raises(ConfigError, match="is not augmented"):
        save_adapter(mlp(), folder)


def write(folder, weights=None, config=None):
    """A folder whose digests are right, and whose content is not."""
    if weights is not None:
        safetensors.torch.save_file(weights, folder / WEIGHTS)
    if config is not None:
        (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / DIGESTS).unlink()


def test_missing_and_unexpected_weights(saved):
    _, folder = saved
    weights = safetensors.torch.load_file(folder / WEIGHTS)
    weights["0.more"] = weights.pop("0.norm.weight")
    write(folder, weights)
    base = mlp()
    with pytest.raises(CheckpointError, match=r"missing: 0.norm.weight; unexpected: 0.more"):
        load_adapter(base, folder)
    with pytest.raises(ConfigError, match="is not augmented"):
        strip(base)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"peft_type": "LORA"}, "of another kind than SPARSEMETA"),
        ({"memory": {"slot": 3}}, "unknown key memory.slot"),
        ({"target": []}, "unknown key target; did you mean targets"),
    ],
)
def test_settings_that_cannot_be(saved, change, message):
    _, folder = saved
    config = json.loads((folder / "adapter_config.json").read_text())
    write(folder, config=config | change)
    with pytest.raises(CheckpointError, match=message):
        load_adapter(mlp(), folder)


def test_damaged(saved):
    _, folder = saved
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / WEIGHTS).write_bytes(data)
    with pytest.raises(CheckpointError, match="is not what was saved"):
        load_adapter(mlp(), folder)
    (folder / WEIGHTS).write_bytes(data[:50])
    (folder / DIGESTS).unlink()
    with pytest.raises(CheckpointError, match="the adapter is damaged"):
        load_adapter(mlp(), folder)
    with pytest.raises(CheckpointError, match="no adapter"):
        load_adapter(mlp(), folder / "nowhere")
