"""Causal language models: a `MemoryCache` carries memory and window, whatever `generate` does."""

import copy

import pytest
import torch

from sparsemeta import MemoryCache, augment, memory_off, session, strip
from sparsemeta.errors import ConfigError, StateError
from tests.tiny import assert_same_state as same

from .zoo import FAMILIES, MEMORY, ROWS, TABLES, VOCABULARY, base_lm, lm, text

GREEDY = {"do_sample": False, "max_new_tokens": 8}


@pytest.fixture(scope="module")
def model():
    return lm()


def generate(model, tokens, cache=None, **options):
    torch.manual_seed(7)
    cache = MemoryCache(model) if cache is None else cache
    return model.generate(tokens, past_key_values=cache, **GREEDY | options)


def read(model, tokens, memory=None, **options):
    """All logits of a text that is read at once, and the memory after."""
    cache = MemoryCache(model, memory)
    return model(tokens, past_key_values=cache, **options).logits, cache.memory


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_a_stream_in_parts_is_one(family):
    """Split anywhere, token by token, in another order of streams, or generated in two calls."""
    model, tokens = lm(family), text()
    whole, after = read(model, tokens)
    for t in (1, 5, 13):
        cache = MemoryCache(model)
        parts = [model(part, past_key_values=cache).logits for part in tokens.split([t, 14 - t], 1)]
        torch.testing.assert_close(torch.cat(parts, 1), whole)
        same(cache.memory, after)
    turned, memory = read(model, tokens.flip(0))
    torch.testing.assert_close(turned.flip(0), whole)
    same(memory.select([2, 1, 0]), after)
    changed = tokens.clone()
    changed[:, 7:] = (changed[:, 7:] + 1) % VOCABULARY
    torch.testing.assert_close(read(model, changed)[0][:, :7], whole[:, :7])  # no peeking

    looped = tokens
    for _ in range(8):
        looped = torch.cat([looped, read(model, looped)[0][:, -1:].argmax(-1)], 1)
    cache = MemoryCache(model)
    first = generate(model, tokens, cache, max_new_tokens=3)
    second = generate(model, first, cache, max_new_tokens=5)
    assert torch.equal(second, looped)
    assert torch.equal(generate(model, tokens), looped)
    same(cache.memory, read(model, looped[:, :-1])[1])
    with memory_off(model):
        assert not torch.equal(model.generate(tokens, **GREEDY), looped)


@pytest.mark.parametrize("family", ["GPT2", "Mistral"])
@torch.no_grad()
def test_left_padding_changes_no_stream(family):
    model, tokens = lm(family), text()
    mask = torch.ones_like(tokens)
    mask[0, :6], mask[1, :11] = 0, 0
    cache = MemoryCache(model)
    found = generate(model, tokens, cache, attention_mask=mask)
    for row, length in enumerate((8, 3, 14)):
        lone = MemoryCache(model)
        expected = generate(model, tokens[row : row + 1, -length:], lone)
        assert torch.equal(found[row, -8:], expected[0, -8:])
        same(cache.memory.select([row]), lone.memory)


@torch.no_grad()
def test_beams_by_value(model):
    """The score of each beam is that of its text, read anew."""
    tokens, memory = text(), read(model, text(seed=5))[1]
    options = {"num_beams": 4, "num_return_sequences": 3, "length_penalty": 0.0}
    options |= {"return_dict_in_generate": True, "output_scores": True}
    made = generate(model, tokens, MemoryCache(model, memory), **options)
    rows = torch.arange(3).repeat_interleave(3)
    logits, _ = read(model, made.sequences[:, :-1], memory.select(rows))
    log_p = logits[:, 13:].log_softmax(-1).gather(-1, made.sequences[:, 14:, None])
    torch.testing.assert_close(made.sequences_scores.double(), log_p.sum((1, 2)), atol=1e-4, rtol=0)
    assert len(made.sequences.unique(dim=0)) == 9


@torch.no_grad()
def test_several_sequences_of_a_stream(model):
    """Each of two streams has its own memory, also of a cache that has been used."""
    tokens = text(batch=2)
    memory, more = read(model, text(batch=2, seed=5))[1], text(batch=2, time=4, seed=6)
    used = MemoryCache(model, memory)
    first = generate(model, tokens, used, max_new_tokens=2)
    given = torch.cat([first, more], 1)
    for cache, prompt in ((MemoryCache(model, memory), tokens), (used, given)):
        alone = []
        for row in (0, 1):
            one = copy.deepcopy(cache)
            one.batch_select_indices(torch.tensor([row]))
            alone.append(generate(model, prompt[[row]], one, num_beams=3, num_return_sequences=2))
        found = generate(model, prompt, cache, num_beams=3, num_return_sequences=2)
        assert torch.equal(found, torch.cat(alone))
    sampled = generate(
        model, tokens, MemoryCache(model, memory), do_sample=True, num_return_sequences=2
    )
    assert sampled.shape == (4, 22)


@torch.no_grad()
def test_a_stream_that_has_ended_reads_no_padding(model):
    end = int(generate(model, text())[0, 16])
    cache = MemoryCache(model)
    model.generation_config.eos_token_id = model.generation_config.pad_token_id = end
    try:
        made = generate(model, text(), cache)
    finally:
        model.generation_config.eos_token_id = model.generation_config.pad_token_id = None
    assert (made[0, 16:] == end).all()
    same(cache.memory.select([0]), read(model, made[:1, :17])[1])
    assert not (made[1:, 14:-1] == end).any()
    same(cache.memory.select([1, 2]), read(model, made[1:, :-1])[1])


@torch.no_grad()
def test_reading_without_writing(model):
    tokens, memory = text(batch=2), read(model, text(batch=2, seed=5))[1]
    write = torch.tensor([False, True])
    cache = MemoryCache(model, memory, write=write)
    parts = [model(part, past_key_values=cache).logits for part in tokens.split([5, 9], 1)]
    found, after = torch.cat(parts, 1), cache.memory
    written, expected = read(model, tokens, memory)
    torch.testing.assert_close(found[1], written[1])
    same(after.select([1]), expected.select([1]))
    assert not torch.allclose(found[0], written[0])
    for name, part in (("model/layers/1.memory", "table"), ("/output/tables.memory", "weight")):
        before, kept = (getattr(m.select([0]).layers[name], part) for m in (memory, after))
        assert torch.equal(kept[:, : before.shape[1]], before)
    # Read as a whole, or step by step by a session.
    whole = MemoryCache(model, memory, write=write)
    torch.testing.assert_close(model(tokens, past_key_values=whole).logits, found)
    with session(model, memory, write=False):
        torch.testing.assert_close(model(tokens).logits[0], found[0])


@torch.no_grad()
def test_what_was_taken_out_is_never_overwritten(model):
    tokens, cache = text(), MemoryCache(model)
    model(tokens, past_key_values=cache)
    memory = cache.memory
    kept, other = memory.clone(), copy.deepcopy(cache)
    generate(model, torch.cat([tokens, tokens], 1), cache)
    same(memory, kept)
    same(other.memory, kept)
    place = cache._carried.memory.layers["/output/rows.memory"].table.data_ptr
    before = place()
    model(tokens[:, :1], past_key_values=cache)
    assert place() == before  # nobody else has it: no copy for each token


@pytest.mark.parametrize("kinds", [(), ["tables"], ["rows", "tables"]])
def test_scores_are_those_of_whole_distributions(model, kinds):
    """Also their gradients, whoever holds the memory; the next pass has whole distributions."""
    tokens, came = text(), text(seed=4)
    model, held = copy.deepcopy(model), read(model, text(seed=5))[1].detach()
    with memory_off(model, kinds):
        logits, after = read(model, tokens, held)
        expected = logits.log_softmax(-1).gather(-1, came[..., None])[..., 0]
        expected.sum().backward()
        gradients = {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}
        model.zero_grad()
        cache = MemoryCache(model, held)
        cache.targets = came
        model(tokens, past_key_values=cache)
        with session(model, held) as s:
            s.targets = came
            model(tokens)
            s.log_p.sum().backward()
            torch.testing.assert_close(s.log_p, expected)
        torch.testing.assert_close(cache.log_p, expected)
        same(cache.memory, after)
        assert gradients
        for name, gradient in gradients.items():
            torch.testing.assert_close(model.get_parameter(name).grad, gradient)
        model(tokens, past_key_values=cache)
        assert cache.log_p is None
        cache.targets = came
        with pytest.raises(ConfigError, match="leave logits_to_keep out"):
            model(tokens, past_key_values=cache, logits_to_keep=1)
        cache.targets = came[:, :3]
        with pytest.raises(ConfigError, match="targets is of shape"):
            model(tokens, past_key_values=cache)


@torch.no_grad()
def test_a_memory_is_emptied_and_the_window_stays(model):
    tokens = text()
    reset = torch.zeros_like(tokens).bool()
    reset[:, 0] = True
    cache, other = MemoryCache(model), MemoryCache(model)
    with memory_off(model, ["hidden"]):  # which is in the window
        model(tokens, past_key_values=cache)
        other.layers = copy.deepcopy(cache.layers)
        cache.emptied = reset
        found = model(tokens, past_key_values=cache).logits
        torch.testing.assert_close(found, model(tokens, past_key_values=other).logits)
        assert cache.emptied is None
        same(cache.memory, other.memory)


def test_training_by_the_labels_of_transformers(model):
    model, tokens = copy.deepcopy(model).train(), text()
    with session(model) as s:
        model(tokens, labels=tokens)
        s.detach()
        loss = model(tokens, labels=tokens).loss
    loss.backward()
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []
    assert all(p.grad is None for n, p in model.named_parameters() if "fast_memory" not in n)
    kept = {n: p.grad.clone() for n, p in model.named_parameters() if p.requires_grad}
    model.zero_grad()
    model.activation_checkpointing_enable()
    with session(model) as s:
        model(tokens, labels=tokens)
        s.detach()
        again = model(tokens, labels=tokens).loss
    again.backward()
    torch.testing.assert_close(again, loss)
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            torch.testing.assert_close(weight.grad, kept[name])


def test_a_module_inside_a_checkpointed_block_is_refused():
    model = augment(base_lm("Llama"), MEMORY, targets="layers.1.mlp", output=()).train()
    with session(model):
        model(text()).logits.sum().backward()
    model.activation_checkpointing_enable()
    with pytest.raises(ConfigError, match="inside a block that is checkpointed"), session(model):
        model(text())


@torch.no_grad()
def test_calls_that_would_lose_the_memory_are_refused(model):
    from transformers import DynamicCache

    tokens = text()
    with pytest.raises(ConfigError, match="nobody has said whose"):
        model(tokens)
    with pytest.raises(ConfigError, match="a DynamicCache keeps no memory"):
        model.generate(tokens, max_new_tokens=2)
    with session(model):
        for call, message in (
            (lambda: model(tokens, past_key_values=MemoryCache(model)), "a session holds"),
            (lambda: model(tokens, past_key_values=DynamicCache()), "a session holds"),
            (
                lambda: model.generate(tokens, use_cache=False, max_new_tokens=2),
                "reads the whole text again",
            ),
            (lambda: model(inputs_embeds=torch.zeros(1, 2, 16)), "not with inputs_embeds"),
            (lambda: model(tokens, attention_mask=torch.ones(3, 1, 14, 14)), "give no other"),
        ):
            with pytest.raises(ConfigError, match=message):
                call()
    cache = MemoryCache(model)
    with pytest.raises(StateError, match="cannot be rolled back"):
        generate(model, tokens[:1], cache, prompt_lookup_num_tokens=2)
    _, memory = read(model, tokens)
    for given in (tokens[:2], text(batch=6)):
        with pytest.raises(StateError, match="holds 3 streams"):
            read(model, given, memory)
    with pytest.raises(StateError, match="Pass what this model"):
        MemoryCache(lm(output=()), memory)
    with pytest.raises(ConfigError, match="is not augmented"):
        MemoryCache(strip(lm()))


@torch.no_grad()
def test_a_pass_that_failed_leaves_nothing_behind(model):
    tokens, cache = text(), MemoryCache(model)
    model(tokens, past_key_values=cache)
    copied = copy.deepcopy(cache)
    wrong = tokens.clone()
    wrong[0, 3] = VOCABULARY + 9
    with session(model, cache.memory) as s:
        before = s.memory
        with pytest.raises(IndexError):
            model(wrong)
        assert s.memory is before
    with pytest.raises(IndexError):
        model(wrong, past_key_values=cache)
    with pytest.raises(StateError, match="failed part way"):
        model(tokens, past_key_values=cache)
    again = model(tokens, past_key_values=copied).logits
    torch.testing.assert_close(again, read(model, torch.cat([tokens, tokens], 1))[0][:, 14:])
    cache.reset()
    torch.testing.assert_close(model(tokens, past_key_values=cache).logits, read(model, tokens)[0])


def test_tied_weights_stay_tied(tmp_path):
    model = lm("Llama", output=[ROWS, TABLES], tie_word_embeddings=True)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    with session(model):
        model(text())
    assert strip(model).lm_head.weight is model.model.embed_tokens.weight
    with pytest.raises(ConfigError, match="'lines' is not one of rows, tables"):
        augment(model, MEMORY, output=["lines"])


@torch.no_grad()
@pytest.mark.parametrize("kept", [1, 5, 14, torch.tensor([2, 9])], ids=str)
def test_logits_of_some_steps(model, kept):
    cache, tokens = MemoryCache(model), text()
    whole, after = read(model, tokens)
    found = model(tokens, past_key_values=cache, logits_to_keep=kept).logits
    expected = whole[:, kept] if isinstance(kept, torch.Tensor) else whole[:, -kept:]
    torch.testing.assert_close(found, expected)
    same(cache.memory, after)
