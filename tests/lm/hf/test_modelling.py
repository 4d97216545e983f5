"""Saved and loaded exactly; a segment is read alike in one call or several; refusals."""

import copy
import dataclasses
import json
import subprocess
import sys

import pytest
import safetensors.torch
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import CheckpointError, ConfigError, StateError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.hf import FastWeightCache, SparseMetaConfig, SparseMetaForCausalLM
from tests.tiny import assert_same_state as same

from .conftest import CONFIG, VOCABULARY, make_model


def test_the_configuration_is_ours():
    ours = {field.name for field in dataclasses.fields(ModelConfig)}
    assert ours | {"vocab_size"} <= {field.name for field in dataclasses.fields(SparseMetaConfig)}
    assert SparseMetaConfig().to_model() == ModelConfig()
    for model in (CONFIG, ModelConfig(memory=MemoryConfig(capacity=100, retention=True))):
        theirs = SparseMetaConfig.from_model(model, 99)
        assert theirs.to_model() == model
        assert (theirs.vocab_size, theirs.hidden_size) == (99, model.width)
        assert SparseMetaConfig.from_dict(json.loads(theirs.to_json_string())).to_model() == model


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"memory": {"slot": 3}}, "did you mean memory.slots"),
        ({"memory_layers": (7,)}, "blocks are 0 to 3"),
        ({"mlp": "gelu"}, "not one of"),
    ],
)
def test_settings_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        SparseMetaConfig(**changes)


def test_saved_and_loaded_exactly(model, tokens, tmp_path):
    model = model.float()
    model.save_pretrained(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).to_model() == model.config.to_model()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert type(loaded) is SparseMetaForCausalLM
    assert loaded.model.head.weight is loaded.model.embedding.weight
    assert torch.equal(loaded(tokens).logits, model(tokens).logits)
    assert torch.equal(loaded(tokens).logits, model.model(tokens)[0])

    loaded(tokens).memory.save(tmp_path / "memory", loaded.model)
    same(FastWeights.load(tmp_path / "memory", model.model), model(tokens).memory)


def test_a_new_model_begins_as_ours():
    torch.manual_seed(0)
    made = AutoModelForCausalLM.from_config(SparseMetaConfig.from_model(CONFIG, VOCABULARY))
    assert not made.model.blocks[0].mlp.output.weight.any()
    assert made.model.blocks[0].mlp.input.weight.any()


def test_a_folder_without_all_weights_is_refused(model, tmp_path):
    model.save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    weights = safetensors.torch.load_file(file)
    del weights["model.blocks.1.mlp.input.weight"]
    safetensors.torch.save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="lack weight of a Linear"):
        AutoModelForCausalLM.from_pretrained(tmp_path)


@pytest.mark.parametrize("t", [1, 7, 8, 23])
def test_a_stream_in_two_calls_is_one(model, tokens, t):
    """Logits, memory and gradients, through the cache that is passed on."""
    whole = model(tokens)
    whole.logits.square().sum().backward()
    expected = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    first = model(tokens[:, :t])
    second = model(tokens[:, t:], past_key_values=first.past_key_values)
    logits = torch.cat([first.logits, second.logits], dim=1)
    torch.testing.assert_close(logits, whole.logits)
    same(second.memory, whole.memory)
    logits.square().sum().backward()
    for gradient, parameter in zip(expected, model.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_a_memory_wins_over_the_cache(model, tokens):
    first, other = model(tokens[:, :8]), model(tokens[:, 8:12])
    found = model(tokens, memory=other.memory, past_key_values=copy.deepcopy(first.past_key_values))
    state = dataclasses.replace(first.past_key_values.state, memory=other.memory)
    assert torch.equal(found.logits, model.model(tokens, state)[0])
    found = model(tokens, memory=other.memory)
    assert torch.equal(
        found.logits, model(tokens, past_key_values=FastWeightCache(other.memory))[0]
    )
    assert not torch.equal(found.logits, model(tokens).logits)


def test_what_was_returned_stays_as_it_is(model, tokens):
    first = model(tokens)
    memory, cache = first.memory.clone(), copy.deepcopy(first.past_key_values)
    states = (held.state.tensors().values() for held in (first.past_key_values, cache))
    places, others = ({tensor.data_ptr() for tensor in state if len(tensor)} for state in states)
    assert places.isdisjoint(others - {0})  # an empty tensor has no place
    model(tokens, past_key_values=first.past_key_values)
    same(first.memory, memory)
    same(cache.memory, memory)
    assert cache.get_seq_length() == 24
    assert first.past_key_values.get_seq_length() == 48
    assert (cache.get_max_length(), cache.batch_size, cache.is_compileable) == (-1, 3, False)
    cache.reset()
    assert (cache.memory, cache.get_seq_length(), cache.batch_size) == (None, 0, -1)


def test_without_a_cache(model, tokens):
    first = model(tokens)
    found = model(tokens, past_key_values=first.past_key_values, use_cache=False)
    assert found.past_key_values is None
    assert first.past_key_values.get_seq_length() == 24
    assert torch.equal(found.logits, model(tokens, past_key_values=first.past_key_values).logits)
    assert model.train()(tokens).past_key_values is None
    assert model(tokens, use_cache=True).past_key_values is not None


def test_left_padding_is_as_if_it_were_not_there(model, tokens):
    mask = torch.ones(3, 24, dtype=torch.int64)
    mask[0, :5] = 0
    mask[1, :] = 0
    found = model(tokens, attention_mask=mask)
    alone = model(tokens[:1, 5:])
    torch.testing.assert_close(found.logits[:1, 5:], alone.logits)
    same(found.memory.select([0]), alone.memory)
    assert found.logits.isfinite().all()
    assert not found.memory.layers["0.memory"].table[1].any()
    longer = torch.cat([torch.zeros(3, 4), mask], dim=1)
    assert torch.equal(model(tokens, attention_mask=longer).logits, found.logits)


def test_the_loss_is_the_cross_entropy_of_the_next_token(model, tokens):
    labels = tokens.clone()
    labels[:, :3] = -100
    found = model(tokens, labels=labels)
    expected = cross_entropy(found.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    torch.testing.assert_close(found.loss, expected)
    total = model(tokens, labels=labels, num_items_in_batch=1).loss
    torch.testing.assert_close(total, expected * 3 * 21)
    assert model(tokens, labels=labels, return_dict=False)[0] == found.loss


def test_some_logits(model, tokens):
    every = model(tokens).logits
    torch.testing.assert_close(model(tokens, logits_to_keep=2).logits, every[:, -2:])
    steps = torch.tensor([3, 5])
    torch.testing.assert_close(model(tokens, logits_to_keep=steps).logits, every[:, steps])


def test_gradient_checkpointing_is_exact(model, tokens):
    model.train()
    results = []
    for enable in (lambda: None, model.activation_checkpointing_enable):
        enable()
        model.zero_grad()
        found = model(tokens, labels=tokens, memory=model(tokens).memory)
        found.loss.backward()
        results.append((found.logits, *found.memory.tensors().values()))
        results[-1] += tuple(p.grad for p in model.parameters())
    assert model.is_activation_checkpointing
    for kept, recomputed in zip(*results, strict=True):
        torch.testing.assert_close(recomputed, kept, rtol=0, atol=0)
    model.activation_checkpointing_disable()
    assert not model.model.recompute


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
def test_the_older_name_of_gradient_checkpointing(model):
    model.gradient_checkpointing_enable()
    assert model.model.recompute


def test_the_memory_of_a_bf16_model_is_float32(model, tokens, tmp_path):
    model.save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="bfloat16")
    found = model(tokens)
    assert found.logits.dtype == (torch.float32 if model.config.output else torch.bfloat16)
    for layer in found.memory.layers.values():
        floats = {k: x for k, x in layer.tensors().items() if x.is_floating_point() and k != "keep"}
        assert all(x.dtype == torch.float32 for x in floats.values())
        assert all(x.any() for x in floats.values())


def test_a_model_without_memory(tokens):
    model = make_model(dataclasses.replace(CONFIG, memory_layers=()))
    first = model(tokens[:, :9])
    found = model(tokens[:, 9:], past_key_values=copy.deepcopy(first.past_key_values))
    torch.testing.assert_close(found.logits, model(tokens).logits[:, 9:])
    assert not found.memory.layers


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"inputs_embeds": torch.zeros(3, 24, 32)}, ConfigError, "takes no inputs_embeds"),
        ({"mask": torch.ones(3, 24)}, ConfigError, "takes no mask"),
        ({"past_key_values": DynamicCache()}, ConfigError, "DynamicCache, which keeps no memory"),
        ({"attention_mask": torch.ones(3, 23)}, ConfigError, "3, 24 or more"),
        ({"attention_mask": torch.ones(3, 1, 24, 24)}, ConfigError, "3, 24 or more"),
    ],
)
def test_arguments_that_would_be_ignored_are_refused(model, tokens, arguments, error, message):
    with pytest.raises(error, match=message):
        model(tokens, **arguments)


def test_other_streams_are_refused(model, tokens):
    first = model(tokens)
    for state in ({"memory": first.memory}, {"past_key_values": first.past_key_values}):
        with pytest.raises(StateError, match="holds 3 streams but input_ids has 2 rows"):
            model(tokens[:2], **state)


def test_arguments_of_no_effect_are_taken(model, tokens):
    found = model(tokens, inputs_embeds=None, output_attentions=False)
    assert torch.equal(found.logits, model(tokens).logits)


def test_the_extra_is_named_where_it_is_missing():
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "try: import sparsemeta.lm.hf\n"
        "except ImportError as error: print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("MissingExtra this needs transformers")
    assert "sparsemeta[hf]" in done.stdout


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_one_step_of_the_trainer(model, tokens, tmp_path):
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    model = model.float()
    before = model.model.embedding.weight.clone()
    data = [{"input_ids": row, "labels": row} for row in tokens]
    settings = TrainingArguments(
        tmp_path, max_steps=1, per_device_train_batch_size=3, report_to=[], use_cpu=True,
        save_strategy="no", disable_tqdm=True,
    )  # fmt: skip
    Trainer(model, settings, train_dataset=data, eval_dataset=data).train()
    assert not torch.equal(model.model.embedding.weight, before)
