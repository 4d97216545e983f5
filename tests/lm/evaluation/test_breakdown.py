import numpy as np
import pytest

from sparsemeta.errors import ConfigError, MissingExtra
from sparsemeta.lm.config import TokenizerConfig
from sparsemeta.lm.evaluation import breakdown
from sparsemeta.lm.evaluation.breakdown import (
    FREQUENCIES,
    OCCURRENCES,
    Gain,
    gains,
    loss_curve,
)
from sparsemeta.lm.scores import Reading, Score, passages
from sparsemeta.lm.text import ByteTokenizer, Document, train_tokenizer
from sparsemeta.plotting import FORMATS, require_plotting

TEXTS = [
    Document("a", "the fox, the dog\n\n  saw\tthé fox;  \n"),
    Document("b", "the\u00a0\U0001d11e end"),
    Document("c", " \n"),
]


def words_of(tokenizer, texts):
    return breakdown.words_of(tokenizer, texts, passages(tokenizer, texts))


def tokenizers():
    return {
        kind: train_tokenizer(TokenizerConfig(kind=kind, vocabulary=size), TEXTS)
        for kind, size in (("bytes", 257), ("bpe", 270), ("words", 6))
    }


def readings(tokenizer, texts, **nats):
    def score(text, of):
        found = np.resize(np.array(of, np.float32), len(tokenizer.encode(text.text)))
        return Score(text.name, found, 1, 1, 1, 1.0, 0)

    return {arm: Reading(arm, "", tuple(score(t, of) for t in texts)) for arm, of in nats.items()}


@pytest.mark.parametrize("kind", ["bytes", "bpe", "words"])
def test_tokens_belong_to_the_words_of_the_text(kind):
    tokenizer = tokenizers()[kind]
    found = words_of(tokenizer, TEXTS)
    for text, own in zip(TEXTS, found, strict=True):
        tokens = tokenizer.encode(text.text)
        assert list(own.spellings) == text.text.split()
        if kind == "words":  # decoding is not exact
            continue
        for i, word in enumerate(own.spellings):
            assert tokenizer.decode(tokens[: len(own.of_token)][own.of_token == i]).strip() == word
    nats = np.arange(len(tokenizer.encode(TEXTS[0].text)), dtype=np.float32)
    assert found[0].nats(nats).sum() == nats.sum()


def test_ends_of_lines_belong_to_the_word_that_follows():
    words = words_of(tokenizers()["words"], [Document("x", "the fox\n\nsaw dog\n")])[0]
    assert words.of_token.tolist() == [0, 1, 2, 2, 2, 3, 3]


class Joined(ByteTokenizer):
    """One token for two words."""

    def _encode(self, texts, data):
        return [np.array([7]) if item == b"the fox" else np.array([*item]) for item in data]


def test_a_tokenizer_that_joins_words_has_none():
    assert words_of(Joined(), [Document("x", "the fox")]) is None


def test_gain_by_earlier_occurrences():
    texts = [Document("a", "x " * 20 + "y "), Document("b", "x ")]
    tokenizer = ByteTokenizer()
    words = words_of(tokenizer, texts)
    found = readings(tokenizer, texts, static=[1.0], carried=[2.0, 4.0])
    (gain,) = gains(found, words, None)
    assert gain.classes == OCCURRENCES
    assert gain.words.tolist() == [3, 1, 2, 4, 8, 4]
    np.testing.assert_allclose(gain.nats["carried"][1:], 6.0)
    assert gain.nats["static"][1] == 2.0
    assert (gain.nats["static"] * gain.words).sum() == sum(len(t.text) for t in texts)


def test_gain_by_training_frequency():
    texts = [Document("a", "rare common unseen common")]
    training = [Document("t", "common " * 12), Document("u", "rare")]
    tokenizer = ByteTokenizer()
    _, gain = gains(readings(tokenizer, texts, static=[1.0]), words_of(tokenizer, texts), training)
    assert gain.classes == FREQUENCIES
    assert gain.words.tolist() == [1, 1, 2, 0, 0, 0]
    assert gain.nats["static"][:3].tolist() == [7, 4, 7]
    assert np.isnan(gain.nats["static"][3:]).all()


def score(nats):
    return Score("x", np.array(nats, np.float32), 1, 1, 1, 1.0, 0)


READINGS = {
    label: Reading(arm, "", (score([3.0] * 40 + [1.0] * 100),))
    for label, arm in (("static", "static"), ("carried", "carried"), ("dense", "carried"))
}
GAIN = Gain(
    "earlier occurrences",
    ("0", "1", "2-3"),
    np.array([4, 0, 9]),
    {label: np.array([3.0, np.nan, 1.0]) for label in READINGS},
)


def plot(readings, found, path):
    breakdown.plot(readings, "static", found, path)


def test_curve_averages_all_texts_by_position():
    texts = [score([1, 2, 3, 4, 5]), score([3, 4]), score([])]
    position, nats = loss_curve(texts, first=2, ratio=2)
    assert position.tolist() == [1.5, 3.5, 5]  # bins end at 2, 4, 8
    assert nats.tolist() == [2.5, 3.5, 5]


def test_every_token_is_in_one_bin():
    texts = [score(np.ones(n)) for n in (1, 31, 32, 33, 1000, 4096)]
    position, nats = loss_curve(texts)
    assert (nats == 1).all()
    assert (np.diff(position) > 0).all()
    assert position[0] < 32
    assert position[-1] <= 4096


@pytest.mark.parametrize("suffix", FORMATS)
def test_plot_is_written(tmp_path, suffix):
    path = tmp_path / f"loss{suffix}"
    plot(READINGS, [GAIN], path)
    assert path.stat().st_size > 1000
    if suffix == ".svg":
        assert path.read_text().count("</svg>") == 1


def test_a_panel_for_each_gain_if_there_is_anything_to_compare(tmp_path):
    def panels(readings, found):
        plot(readings, found, tmp_path / "a.svg")
        return (tmp_path / "a.svg").read_text().count('<g id="axes_')

    assert panels(READINGS, []) == 1
    assert panels(READINGS, [GAIN, GAIN]) == 3
    assert panels({"static": READINGS["static"]}, [GAIN]) == 1


def test_wrong_name(tmp_path):
    with pytest.raises(ConfigError, match=r"loss\.txt: a plot's name ends in \.png, \.pdf, \.svg"):
        require_plotting(tmp_path / "loss.txt", "lm")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr("sparsemeta.errors.installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"matplotlib.*pip install 'sparsemeta\[lm\]'"):
        plot(READINGS, [], tmp_path / "loss.png")
