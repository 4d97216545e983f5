"""`generate`: every way of choosing tokens reads as if there were no cache, and goes on exactly."""

import copy
import inspect

import pytest
import torch
from transformers import DynamicCache, GenerationMixin

from sparsemeta.errors import ConfigError, StateError
from sparsemeta.lm.hf import FastWeightCache
from tests.tiny import assert_same_state as same

from .conftest import VOCABULARY

GREEDY = {"do_sample": False, "max_new_tokens": 16}


def generate(model, tokens, **options):
    torch.manual_seed(7)
    return model.generate(tokens, **GREEDY | options)


def going_on(model, tokens, **options):
    """The tokens, and the cache that they were made with."""
    made = generate(model, tokens, return_dict_in_generate=True, **options)
    return made.sequences, made.past_key_values


def test_greedy_is_the_likeliest_token_of_the_whole_text_read_anew(model, tokens):
    text = tokens
    for _ in range(16):
        text = torch.cat([text, model.model(text)[0][:, -1:].argmax(-1)], dim=1)
    assert torch.equal(generate(model, tokens), text)
    assert len(text[:, 24:].unique()) > 3  # no trivial text


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"do_sample": True},
        {"do_sample": True, "num_return_sequences": 2},
        {"num_beams": 4},
        {"num_beams": 4, "num_return_sequences": 3},
        {"num_beams": 3, "do_sample": True},
        {"eos_token_id": 5, "pad_token_id": 0, "num_beams": 3},
    ],
    ids=str,
)
def test_the_cache_changes_no_token(model, tokens, options):
    memory = model(tokens.flip(1)).memory
    for extra in ({}, {"memory": memory}):
        found = generate(model, tokens, **options, **extra)
        assert torch.equal(found, generate(model, tokens, use_cache=False, **options, **extra))


def test_a_prompt_may_be_read_in_chunks(model, tokens):
    found = generate(model, tokens, prefill_chunk_size=7)
    assert torch.equal(found, generate(model, tokens))


def test_a_second_call_goes_on_where_the_first_stopped(model, tokens):
    """The last token that the first call wrote is read by the second."""
    sequences, cache = going_on(model, tokens, max_new_tokens=6)
    assert cache.get_seq_length() == 24 + 5
    same(cache.memory, model(sequences[:, :-1]).memory)
    sequences, cache = going_on(model, sequences, past_key_values=cache, max_new_tokens=10)
    assert torch.equal(sequences, generate(model, tokens))
    same(cache.memory, model(sequences[:, :-1]).memory)


def test_no_token_costs_a_copy_of_the_table(model, tokens):
    """But the memory that was passed is copied, once."""
    cache, places = FastWeightCache(model(tokens).memory), []

    def look(text, _):
        places.append(cache.memory.layers["0.memory"].table.data_ptr())
        return torch.zeros(len(text), dtype=torch.bool)

    before = cache.memory.layers["0.memory"].table.data_ptr()
    generate(model, tokens, past_key_values=cache, stopping_criteria=[look])
    assert len(places) == 16
    assert len(set(places)) == 1
    assert before not in places


@pytest.mark.parametrize("whole", [True, False])
def test_new_tokens_may_come_between_two_calls(model, tokens, whole):
    sequences, cache = going_on(model, tokens[:, :12], max_new_tokens=6)
    text = torch.cat([sequences, tokens[:, 12:]], dim=1)
    expected = generate(model, text)
    # Otherwise only what was not read: the last token that was made, and the new ones.
    given = text if whole else text[:, cache.get_seq_length() :]
    found = generate(
        model, given, past_key_values=cache, attention_mask=torch.ones_like(text, dtype=torch.int64)
    )
    assert torch.equal(found[:, -16:], expected[:, -16:])


def test_a_memory_goes_on_without_its_window(model, tokens):
    memory = model(tokens).memory
    before = memory.clone()
    found, cache = going_on(model, tokens[:, :5], memory=memory)
    same(cache.memory, model(found[:, :-1], memory=memory).memory)
    same(memory, before)
    again = generate(model, tokens[:, :5], past_key_values=FastWeightCache(memory))
    assert torch.equal(again, found)


@pytest.mark.parametrize("held", ["memory", "past_key_values"])
def test_several_sequences_for_every_stream_that_was_passed(model, tokens, held):
    first = model(tokens[:, :8])
    alone = []
    for row in range(3):
        given = first.memory.select([row])
        if held == "past_key_values":
            given = copy.deepcopy(first.past_key_values)
            given.batch_select_indices(torch.tensor([row]))
        whole = tokens[row : row + 1, 8:] if held == "memory" else tokens[row : row + 1]
        alone.append(generate(model, whole, num_beams=3, num_return_sequences=2, **{held: given}))
    whole = tokens[:, 8:] if held == "memory" else tokens
    found = generate(model, whole, num_beams=3, num_return_sequences=2, **{held: first[held]})
    assert torch.equal(found, torch.cat(alone))


def test_left_padding_changes_no_stream(model, tokens):
    mask = torch.ones_like(tokens)
    mask[0, :9], mask[1, :20] = 0, 0
    found, cache = going_on(model, tokens, attention_mask=mask)
    for row, length in enumerate((15, 4, 24)):
        alone, other = going_on(model, tokens[row : row + 1, -length:])
        assert torch.equal(found[row, -16:], alone[0, -16:])
        same(cache.memory.select([row]), other.memory)
    more = generate(model, found, past_key_values=cache, max_new_tokens=5)
    longer = torch.cat([mask, torch.ones(3, 16, dtype=torch.int64)], dim=1)
    assert torch.equal(more, generate(model, found, attention_mask=longer, max_new_tokens=5))


def test_a_stream_that_has_ended_reads_no_padding(model, tokens):
    """The cache holds what reading the sequences without their padding leaves."""
    end = int(generate(model, tokens[:1])[0, 24 + 4])
    sequences, cache = going_on(model, tokens, eos_token_id=end, pad_token_id=end)
    mask = torch.ones_like(sequences, dtype=torch.bool)
    for row, text in enumerate(sequences[:, 24:]):
        ends = (text == end).nonzero()
        if len(ends):
            mask[row, 24 + int(ends[0]) + 1 :] = False
    assert (~mask[0]).sum() >= 5
    assert mask[:, -1].any()
    expected = model(sequences[:, :-1], attention_mask=mask[:, :-1])
    same(cache.memory, expected.memory)
    running = mask[:, -1]  # nothing is said after padding
    more = generate(model, sequences, past_key_values=cache, attention_mask=mask, max_new_tokens=4)
    anew = generate(model, sequences, attention_mask=mask, max_new_tokens=4)
    assert torch.equal(more[running], anew[running])


@pytest.mark.parametrize(
    "given",
    [
        lambda text: text[:, -3:],  # the new tokens alone
        lambda text: text[:, :-1],  # nothing new
        lambda text: torch.cat([text[:, :-2], (text[:, -2:] + 1) % VOCABULARY], dim=1),
        lambda text: text[:2],  # fewer streams
    ],
)
def test_a_text_that_was_not_read_is_refused(model, tokens, given):
    sequences, cache = going_on(model, tokens)
    with pytest.raises(StateError, match="do not begin with what this cache has read"):
        generate(model, given(sequences), past_key_values=cache)


@pytest.mark.parametrize("options", [{"prompt_lookup_num_tokens": 3}, {"assistant_model": None}])
def test_assisted_decoding_is_refused(model, tokens, options):
    if "assistant_model" in options:
        options = {"assistant_model": copy.deepcopy(model)}
    with pytest.raises(ValueError, match="not supported with stateful models"):
        generate(model, tokens[:1], **options)


def test_a_cache_cannot_be_cropped(model, tokens):
    cache = model(tokens).past_key_values
    assert not cache.is_croppable
    with pytest.raises(StateError, match="cannot be rolled back"):
        cache.crop(-1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cache_implementation": "static"}, "keeps no memory"),
        ({"cache_implementation": "quantized"}, "keeps no memory"),
        ({"past_key_values": DynamicCache()}, "DynamicCache, which keeps no memory"),
    ],
)
def test_other_caches_are_refused(model, tokens, options, message):
    with pytest.raises(ConfigError, match=message):
        generate(model, tokens, **options)


def test_embeddings_and_misspelt_arguments_are_refused(model, tokens):
    with pytest.raises(ValueError, match="inputs_embeds"):
        generate(model, None, inputs_embeds=torch.zeros(1, 3, 32))
    with pytest.raises(ValueError, match="memori"):
        generate(model, tokens, memori=1)


def test_what_transformers_must_go_on_offering():
    """Where `lm/hf/generation.py` takes part in `generate`; a change there shows here first."""
    expected = {
        "_expand_inputs_for_generation": {"expand_size"},
        "_prepare_cache_for_generation": {"generation_config", "model_kwargs"},
        "prepare_inputs_for_generation": {
            "input_ids",
            "next_sequence_length",
            "past_key_values",
            "is_first_iteration",
        },
    }
    for name, parameters in expected.items():
        assert parameters <= inspect.signature(getattr(GenerationMixin, name)).parameters.keys()
    source = inspect.getsource(GenerationMixin)
    for hook in (*expected, "_is_stateful", "_eos_token_tensor", ".reorder_cache(", "_prefill"):
        assert hook in source, hook
