import math

import numpy as np
import pytest
import torch

from sparsemeta.errors import ConfigError, CorpusError
from sparsemeta.lm import LanguageModel, LMState, evaluate, read_documents
from sparsemeta.lm.config import CorpusConfig, ModelConfig, TokenizerConfig
from sparsemeta.lm.evaluation import (
    Arm,
    Cache,
    CarriedMemory,
    DocumentMemory,
    Dynamic,
    NoMemory,
    all_arms,
    arms_of,
)
from sparsemeta.lm.evaluation.arms import POLICIES
from sparsemeta.lm.text import ByteTokenizer, Tokenizer, train_tokenizer
from sparsemeta.nn import memory_off
from sparsemeta.run import Progress
from tests.data import data_file
from tests.lm.evaluation.models import LAYERS, WINDOW, build, documents
from tests.tiny import OUTPUT

ONE = "the fox saw the dog; the dog saw the fox\n" * 2
TWO = "a dog and a fox and the dog\n" * 2
ALL = all_arms(True)
CACHE = Cache(size=20, weight=0.3, theta=8.0)
DYNAMIC = Dynamic(segment=8, rate=1e-3, decay=1e-2, samples=4)


def read(model, *texts, arms=None, tokenizer=None, training=ONE, **options):
    """Evaluate, arms by name in the settings above."""
    tokenizer = tokenizer or ByteTokenizer()
    if arms is not None:
        arms = [Arm.parse(arm, (CACHE, DYNAMIC)) if isinstance(arm, str) else arm for arm in arms]
        options |= {"arms": arms, "training": documents(training)}
    return evaluate(model, tokenizer, documents(*texts), **options)


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


@pytest.mark.parametrize("arm", POLICIES)
@pytest.mark.parametrize(
    ("layers", "output"), [((0, 1), ()), ((1,), OUTPUT), ((), OUTPUT)], ids=str
)
@torch.no_grad()
def test_each_arm_is_its_definition(layers, output, arm):
    model = build(layers, output=output)
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
    static, document, carried = (nats(r) for r in read(build(), ONE, TWO, arms=POLICIES).values())
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


@pytest.mark.parametrize("arm", ALL)
def test_the_future_changes_no_score(arm):
    model, at = build(), 30
    changed = ONE[:at] + "#" * (len(ONE) - at)
    before, after = (nats(read(model, t, TWO, arms=[arm])[arm]) for t in (ONE, changed))
    np.testing.assert_allclose(before[0][:at], after[0][:at], atol=1e-6)
    assert (np.abs(before[0][at:] - after[0][at:]) > 1e-4).all()


@pytest.mark.parametrize("arm", POLICIES)
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


LETTERS = {"tokenizer": Letters(), "training": "abcde" * 10}


@pytest.mark.parametrize("arm", ALL)
def test_probabilities_sum_to_one(arm):
    model = build(vocab_size=6)
    last = [
        nats(read(model, "abcab", "abcdab" + letter, arms=[arm], **LETTERS)[arm])[1][-1]
        for letter in "abcde|"
    ]
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
    static, document, carried, cache = read(build(), ONE).values()
    window = LAYERS * 2 * (WINDOW - 1) * 16 * 4
    assert static.total.state_bytes == window
    memory = 2 * (2 * 16 * 8 * 4 + 16 * 4 + 8)  # two layers: table, last input, steps
    assert document.total.state_bytes == carried.total.state_bytes == window + memory
    pairs = len(ONE) * (16 * 4 + 8)  # the hidden state, and the token that followed
    assert cache.total.state_bytes == window + pairs
    static, _, carried, _ = read(build((), output=("tables",)), ONE).values()
    assert static.total.state_bytes == window < carried.total.state_bytes
    dynamic = read(build(), ONE, arms=["dynamic", "carried+cache+dynamic"])
    model = build()
    memories = sum(p.nbytes for b in model.blocks for p in b.memory.parameters())
    norms = sum(b.norms[2].weight.nbytes for b in model.blocks)
    weights = sum(p.nbytes for p in model.parameters())
    sizes = [reading.total.state_bytes for reading in dynamic.values()]
    pairs = CACHE.size * (16 * 4 + 8)
    assert sizes == [window + weights - memories - norms, window + memory + pairs + weights]


def test_policy_says_what_was_known():
    readings = read(build(), ONE, arms=ALL)
    assert list(readings) == list(ALL)
    for arm, words in zip(POLICIES, ("off", "emptied at each text", "never emptied"), strict=True):
        assert readings[arm].arm == arm
        assert readings[arm].policy.endswith(f"memory: {words}")
        assert readings[arm].settings == {}
    for reading in readings.values():
        assert f"attention: last {WINDOW} tokens, across texts" in reading.policy
    both = readings["carried+cache+dynamic"]
    assert both.policy.endswith(
        "memory: never emptied; cache: last 20 tokens, across texts, weight 0.3, theta 8; "
        "weights: updated every 8 tokens, across texts, rate 0.001, decay 0.01"
    )
    assert both.settings["cache"] == {"size": 20, "weight": 0.3, "theta": 8.0}
    assert both.settings["dynamic"]["segment"] == 8


def test_without_other_wishes_the_arms_that_need_no_gradients():
    assert list(read(build(), ONE)) == ["static", "document", "carried", "cache"]
    assert list(read(build(memory_layers=()), ONE)) == ["static", "cache"] == list(arms_of(False))
    assert list(read(build((), output=OUTPUT), ONE)) == list(arms_of(True))


def test_a_model_without_memory_has_no_memory_arms():
    model = build(memory_layers=())
    assert read(model, ONE)["static"].policy.endswith("memory: none")
    for arm in all_arms(False):
        assert read(model, ONE, arms=[arm])[arm].total.tokens == len(ONE)
    with pytest.raises(ConfigError, match=r"'carried\+cache' needs a memory .* cache\+dynamic"):
        read(model, ONE, arms=["static", "carried+cache"])


@pytest.mark.parametrize("arm", ALL)
def test_every_token_is_scored_once(arm):
    seen = []

    class Watched(Progress):
        def message(self, text):
            if text == f"{arm}:":  # what it prepared with is behind it
                seen.clear()

        def update(self, step, loss, tokens):
            seen.append(tokens)

    reading = read(build(), ONE, TWO, arms=[arm], progress=Watched(quiet=True))[arm]
    assert [text.tokens for text in reading.texts] == [len(ONE), len(TWO)]
    assert sum(seen) == len(ONE) + len(TWO)


@pytest.mark.parametrize("arm", ["dynamic", "carried+cache+dynamic"])
def test_dynamic_arms_put_the_weights_back(arm):
    model = build(output=OUTPUT)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    static = nats(read(model, ONE, arms=["static"])["static"])[0]
    changed = nats(read(model, ONE, arms=[arm])[arm])[0]
    assert np.abs(changed - static).max() > 1e-3

    class Stop(Progress):
        reading = False

        def message(self, text):
            self.reading = text == f"{arm}:"

        def update(self, step, loss, tokens):
            if self.reading and step == 3:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(model, ONE, TWO, arms=[arm], progress=Stop(quiet=True))
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), name
    assert all(parameter.grad is None for parameter in model.parameters())
    assert (nats(read(model, ONE, arms=["static"])["static"])[0] == static).all()


@pytest.mark.parametrize("memory", [NoMemory(), DocumentMemory(), CarriedMemory()])
def test_what_does_not_adapt_is_the_model_alone(memory):
    model = build()
    still = [
        Arm.of(memory, Cache(weight=0.0)),
        Arm.of(memory, Dynamic(segment=8, rate=0.0, samples=2)),
    ]
    alone = nats(read(model, ONE, TWO, arms=[Arm.of(memory)])[memory.name])
    for arm in still:
        found = nats(read(model, ONE, TWO, arms=[arm])[str(arm)])
        for one, other in zip(found, alone, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_cache_and_dynamic_gain_where_text_repeats_itself():
    model, text = build(), ONE * 4
    beside = Cache(weight=0.5), Dynamic(segment=8, rate=1e-2, samples=16)
    arms = [Arm.of(), *map(Arm.of, beside), Arm.of(*beside)]
    static, cache, dynamic, both = (r.total.nats for r in read(model, text, arms=arms).values())
    assert cache < 0.7 * static
    assert dynamic < 0.8 * static
    assert both < 0.4 * dynamic


def test_bf16_is_close():
    model = build()
    for exact, rough in zip(
        read(model, ONE, arms=ALL).values(),
        read(model, ONE, arms=ALL, precision="bf16-mixed").values(),
        strict=True,
    ):
        assert rough.total.token_nats.dtype == np.float32
        assert rough.total.nats == pytest.approx(exact.total.nats, rel=0.02)
        assert rough.total.nats != exact.total.nats


def test_the_model_is_left_as_it_was():
    model = build()
    first, second = (read(model, ONE) for _ in range(2))
    for arm in first:
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
    with pytest.raises(ConfigError, match=r"'dynamic' needs training text"):
        evaluate(model, ByteTokenizer(), documents(ONE), arms=["dynamic"])


def test_wikitext_2_is_counted_as_the_literature_does():
    path = data_file("wikitext-2/wiki.test.tokens")
    texts = read_documents([str(path)], CorpusConfig(wikitext=True))
    tokenizer = train_tokenizer(TokenizerConfig(kind="words", vocabulary=40), texts)
    config = ModelConfig(layers=1, width=8, heads=1, window=2, mlp_width=8)
    model = LanguageModel(config, tokenizer.vocab_size)
    total = evaluate(model, tokenizer, texts, arms=["static"], segment=512)["static"].total
    assert total.tokens == total.words_eos == 245_569
    assert total.words == 241_211
    assert total.bytes == path.stat().st_size
    assert total.word_perplexity == total.perplexity
