import math

import numpy as np
import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import ConfigError, CorpusError
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.corpus import Document
from sparsemeta.lm.evaluation import arms_of, evaluate
from sparsemeta.lm.modelling import LanguageModel, LMState
from sparsemeta.lm.scores import ARMS
from sparsemeta.lm.tokenizer import ByteTokenizer, Tokenizer
from sparsemeta.nn import memory_off

ONE = "the fox saw the dog; the dog saw the fox\n" * 2
TWO = "a dog and a fox and the dog\n" * 2
WINDOW, LAYERS = 5, 2


def build(memory_layers=(0, 1), vocab_size=257):
    """A model in which nothing is zero, so that memory and attention matter."""
    memory = MemoryConfig(slots=16, active=2, heads=2, key_width=8, value_width=8)
    config = ModelConfig(
        layers=LAYERS,
        width=16,
        heads=2,
        window=WINDOW,
        mlp_width=16,
        memory_layers=memory_layers,
        memory=memory,
    )
    model = LanguageModel(config, vocab_size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def documents(*texts):
    return [Document(f"text {i}", text) for i, text in enumerate(texts)]


def read(model, *texts, **options):
    return evaluate(model, ByteTokenizer(), documents(*texts), **options)


def nats(reading):
    return [text.token_nats for text in reading.texts]


def token_by_token(model, text, state):
    """The definition: read one token, then score the next."""
    ids = [256, *text.encode()]
    found = []
    for now, following in zip(ids, [*ids[1:], None], strict=True):
        logits, state = model(torch.tensor([[now]]), state)
        if following is not None:
            found.append(-logits[0, 0].log_softmax(-1)[following].item())
    return np.array(found), state


@pytest.mark.parametrize("arm", ARMS)
@torch.no_grad()
def test_each_arm_is_its_definition(arm):
    model = build()
    result = read(model, ONE, TWO, arms=[arm])[arm]
    if arm == "static":
        with memory_off(model):
            first, state = token_by_token(model, ONE, None)
            second, _ = token_by_token(model, TWO, state)
    else:
        first, state = token_by_token(model, ONE, None)
        if arm == "document":  # the window is carried, the memory is new
            state = LMState(state.memory.reset(), state.window)
        second, _ = token_by_token(model, TWO, state)
    for found, expected, text in zip(nats(result), (first, second), (ONE, TWO), strict=True):
        assert found.shape == (len(text),)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_arms_differ_where_they_should():
    static, document, carried = (nats(r) for r in read(build(), ONE, TWO).values())
    assert (document[0] == carried[0]).all()  # the first text finds an empty memory in both
    assert np.abs(document[1] - carried[1]).max() > 1e-3
    assert np.abs(document[0] - static[0]).max() > 1e-3


@pytest.mark.parametrize("segment", [1, 7, 41, 1000])
def test_segments_do_not_change_scores(segment):
    model = build()
    for found, expected in zip(
        read(model, ONE, TWO, segment=segment).values(),
        read(model, ONE, TWO, segment=16).values(),
        strict=True,
    ):
        for one, other in zip(nats(found), nats(expected), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("arm", ARMS)
def test_the_future_changes_no_score(arm):
    model, at = build(), 30
    changed = ONE[:at] + "#" * (len(ONE) - at)
    before, after = (nats(read(model, t, TWO, arms=[arm])[arm]) for t in (ONE, changed))
    np.testing.assert_allclose(before[0][:at], after[0][:at], atol=1e-6)
    assert (np.abs(before[0][at:] - after[0][at:]) > 1e-4).all()


@pytest.mark.parametrize("arm", ARMS)
def test_only_carried_memory_reaches_across_texts(arm):
    model = build(memory_layers=(1,))  # the last: no attention sees what it adds
    changed = "#" * 30 + ONE[30:]  # farther back than the windows reach
    before, after = (nats(read(model, t, TWO, arms=[arm])[arm])[1] for t in (ONE, changed))
    assert np.allclose(before, after, atol=1e-6) == (arm != "carried")


class Letters(Tokenizer):
    """Five letters, and a spelling even for the separator."""

    vocab_size = 6

    def _encode(self, texts, data):
        return [np.array(["abcde|".index(c) for c in text], np.int32) for text in texts]

    def _decode(self, ids):
        raise NotImplementedError

    def _to_json(self):
        raise NotImplementedError


@pytest.mark.parametrize("arm", ARMS)
def test_probabilities_sum_to_one(arm):
    model = build(vocab_size=6)
    texts = [documents("abcab", "abcdab" + last) for last in "abcde|"]
    last = [evaluate(model, Letters(), t, arms=[arm])[arm].texts[1].token_nats[-1] for t in texts]
    assert np.exp(-np.array(last)).sum() == pytest.approx(1, abs=1e-5)


def test_counts():
    model = build()
    torch.nn.init.zeros_(model.head.weight)  # every token is as likely as any other
    reading = read(model, "a b\n\nc d", "é x\n")["carried"]
    one, two, total = *reading.texts, reading.total
    assert [(s.tokens, s.bytes, s.words, s.words_eos) for s in (one, two, total)] == [
        (8, 8, 4, 7),
        (5, 5, 2, 3),
        (13, 13, 6, 10),
    ]
    for score in (one, two, total):
        assert score.perplexity == pytest.approx(257)
        assert score.nats == pytest.approx(score.tokens * math.log(257))
        assert score.bits_per_byte == pytest.approx(math.log2(257))
        assert score.word_perplexity == pytest.approx(257 ** (score.tokens / score.words_eos))
        assert score.tokens_per_second == pytest.approx(score.tokens / score.seconds)
    assert total.seconds == pytest.approx(one.seconds + two.seconds)
    assert [text.name for text in reading.texts] == ["text 0", "text 1"]


def test_state_size_counts_the_memory_only_where_it_is_on():
    static, document, carried = read(build(), ONE).values()
    window = LAYERS * 2 * (WINDOW - 1) * 16 * 4
    assert static.total.state_bytes == window
    memory = 2 * (2 * 16 * 8 * 4 + 16 * 4 + 8)  # two layers: table, last input, steps
    assert document.total.state_bytes == carried.total.state_bytes == window + memory


def test_policy_says_what_was_known():
    readings = read(build(), ONE)
    assert list(readings) == list(ARMS)
    for arm, words in zip(ARMS, ("off", "emptied at each text", "never emptied"), strict=True):
        assert readings[arm].arm == arm
        assert readings[arm].policy.endswith(f"memory: {words}")
        assert f"attention: last {WINDOW} tokens, across texts" in readings[arm].policy


def test_a_model_without_memory_has_one_arm():
    model = build(memory_layers=())
    assert arms_of(model) == ("static",)
    assert read(model, ONE)["static"].policy.endswith("memory: none")
    with pytest.raises(ConfigError, match=r"'carried' needs a memory .* only arm is 'static'"):
        read(model, ONE, arms=["static", "carried"])


def test_bf16_is_close():
    model = build()
    for exact, rough in zip(
        read(model, ONE).values(), read(model, ONE, precision="bf16-mixed").values(), strict=True
    ):
        assert rough.total.token_nats.dtype == np.float32
        assert rough.total.nats == pytest.approx(exact.total.nats, rel=0.02)
        assert rough.total.nats != exact.total.nats


def test_the_model_is_left_as_it_was():
    model = build()
    first, second = (read(model, ONE) for _ in range(2))
    for arm in ARMS:
        assert first[arm].total.nats == second[arm].total.nats
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bad_requests():
    model = build()
    with pytest.raises(ConfigError, match=r"unknown arm 'carry'\. The arms are static, doc"):
        read(model, ONE, arms=["carry"])
    with pytest.raises(ConfigError, match="segment must be at least 1"):
        read(model, ONE, segment=0)
    with pytest.raises(CorpusError, match="no text to read"):
        read(model)
