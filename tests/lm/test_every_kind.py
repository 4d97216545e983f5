"""Memories in blocks and where tokens are predicted, together: invariants 9 to 12 of the design."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from sparsemeta.config import TablesConfig
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.evaluation import Arm, Dynamic, Evaluator
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.reading import Reader, read_on
from sparsemeta.lm.scores import Passage
from sparsemeta.lm.text import Document, WordTokenizer
from sparsemeta.nn import memory_off
from tests.tiny import OUTPUT, assert_same_state, tiny_model

TOKENIZER = WordTokenizer(["<eos>", "<unk>", *"abcdefgh"])
VOCABULARY = TOKENIZER.vocab_size
TRAINING = [Document("training", "a b c d\ne f g h\n" * 9)]
WITHOUT = ("no-hidden", "no-rows", "no-tables")
ABLATED = (*WITHOUT, "no-hidden+no-rows", "no-hidden+no-tables", "no-rows+no-tables")
PLAIN = ("static", "document", "carried", *(f"carried+{name}" for name in ABLATED))
ARMS = (*PLAIN, "cache", "carried+cache", "carried+cache+no-tables", "carried+dynamic")
LONGER = TablesConfig(orders=(1, 2), fading_orders=(1,), fading=(0.8,))
every_arm = pytest.mark.parametrize("name", ARMS)


@pytest.fixture
def model():
    return tiny_model(output=OUTPUT, vocabulary=VOCABULARY)


def text(seed, length=30):
    made = torch.randint(VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed))
    return np.r_[0, made.numpy()]


def nats(model, name, tokens, segment=7):
    """Of each token of a text that is read after another one."""
    evaluator = Evaluator(model, TOKENIZER, TRAINING, segment=segment)
    arm = Arm.parse(name, [Dynamic(segment=7, samples=4)])
    texts = Passage("before", text(1)), Passage("text", tokens)
    return evaluator.read(arm, texts)[1].token_nats


@every_arm
@pytest.mark.parametrize("t", [1, 20])
def test_what_every_token_is_given_sums_to_one(model, name, t):
    before = text(2)[:t]
    found = [nats(model, name, np.r_[before, token])[-1] for token in range(VOCABULARY)]
    assert np.exp(-np.array(found, np.float64)).sum() == pytest.approx(1, abs=1e-5)


@every_arm
def test_a_token_is_scored_before_anything_learns_from_it(model, name):
    tokens = text(2)
    changed = np.r_[tokens[:17], (tokens[17:] + 1) % VOCABULARY]
    one, two = nats(model, name, tokens), nats(model, name, changed)
    assert (one[:16] == two[:16]).all()
    assert (one[16:] != two[16:]).all()


@pytest.mark.parametrize("name", [name for name in ARMS if "dynamic" not in name])
def test_segments_change_no_score(model, name):
    whole = nats(model, name, text(2), segment=100)
    for segment in (1, 4, 7):
        np.testing.assert_allclose(nats(model, name, text(2), segment), whole, rtol=2e-5, atol=1e-6)


def test_every_part_has_its_say(model):
    found = {name: nats(model, name, text(2)).sum() for name in ARMS}
    assert len(set(found.values())) == len(ARMS)


@pytest.mark.parametrize("kinds", [(), ("hidden",), ("rows",), ("tables",)], ids=str)
@pytest.mark.parametrize("steps", [0, 1, 5])
def test_the_score_of_a_token_is_its_entry_of_the_whole(model, kinds, steps):
    x, follows = torch.from_numpy(np.stack([text(1), text(2)])), torch.from_numpy(text(3, 61))
    follows = follows[:62].view(2, 31)
    with torch.no_grad(), memory_off(model, kinds):
        log_p, one = model(x, targets=follows)
        whole, other = model(x, steps=steps)
    found = whole.log_softmax(-1).gather(-1, follows[:, -steps:, None])[..., 0]
    torch.testing.assert_close(log_p[:, -steps:], found, rtol=1e-5, atol=1e-6)
    assert_same_state(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("output", [("rows",), ("tables",), OUTPUT], ids=str)
def test_of_a_new_model_an_empty_memory_is_the_base(output):
    """Row memory adds nothing until it is trained; tables say nothing of new contexts."""
    config = replace(tiny_model().config, output=output, memory_layers=(), tables=LONGER)
    model = LanguageModel(config, VOCABULARY)
    x = torch.arange(VOCABULARY)[None]
    x = x if "tables" in output else x.repeat(1, 3)
    emptied = torch.zeros_like(x, dtype=torch.bool)
    emptied[:, 0] = True
    with torch.no_grad():
        state = None
        for _ in range(2):
            with memory_off(model):
                expected, _ = model(x, state)
            found, state = model(x, state, reset=emptied)
            assert torch.equal(found.log_softmax(-1), expected.log_softmax(-1))
        assert ("tables" in output) == (not torch.equal(model(x, state)[0], found))


def test_a_memory_of_every_kind_is_saved_and_read_on_from(model, tmp_path):
    before, whole = Reader(model, segment=7), Reader(model)
    first, second = Passage("one", text(1)), Passage("two", text(2))
    before.read(first)
    whole.read(first)
    before.memory.save(tmp_path / "memory", model)
    loaded = FastWeights.load(tmp_path / "memory", model)
    assert_same_state(loaded, before.memory, rtol=0, atol=0)
    again = Reader(model, loaded, segment=7)
    expected = before.read(second).token_nats
    assert (again.read(second).token_nats == expected).all()
    assert_same_state(again.memory, before.memory, rtol=0, atol=0)
    np.testing.assert_allclose(whole.read(second).token_nats, expected, rtol=2e-5, atol=1e-6)


def test_one_token_after_the_other_is_the_whole_text(model):
    logits, state = read_on(model, text(1))
    step = None
    for token in text(1):
        found, step = read_on(model, [token], step, donate=True)
    torch.testing.assert_close(found, logits, rtol=1e-5, atol=1e-6)
    assert_same_state(step, state, rtol=1e-4, atol=1e-5)
