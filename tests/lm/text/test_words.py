import json
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.lm.config import CorpusConfig, TokenizerConfig
from sparsemeta.lm.text.corpus import Document, read_documents
from sparsemeta.lm.text.tokenizer import WordTokenizer, load_tokenizer, train_tokenizer
from tests.data import data_file

TEXT = " \n = Cats = \n \n the cat sat on the <unk> mat \n a cat sat\n"


def learned(text=TEXT, vocabulary=100):
    config = TokenizerConfig(kind="words", vocabulary=vocabulary)
    return train_tokenizer(config, [Document("text", text)])


def spelled(tokenizer):
    return json.loads(tokenizer._to_json())["words"]


def test_vocabulary_is_by_frequency_then_first_appearance():
    expected = ["<eos>", "<unk>", "=", "the", "cat", "sat", "Cats", "on", "mat", "a"]
    assert spelled(learned()) == expected
    assert spelled(learned(vocabulary=5)) == expected[:5]
    assert learned(vocabulary=5).vocab_size == 5
    with pytest.raises(ConfigError, match=r"tokenizer\.vocabulary = 2 must be at least 3"):
        learned(vocabulary=2)


def test_lines_end_in_eos_and_unknown_words_are_unk():
    tokenizer = learned()
    assert tokenizer.separator == 0
    assert tokenizer.encode("the dog\n\n sat \ton<unk>\u3000cat").tolist() == [3, 1, 0, 0, 5, 1, 4]
    assert tokenizer.encode("the\n").tolist() == [3, 0]
    assert tokenizer.encode("").tolist() == []


def test_decoding_gives_words_and_lines():
    tokenizer = learned()
    assert tokenizer.decode(tokenizer.encode(TEXT)) == (
        "\n= Cats =\n\nthe cat sat on the <unk> mat\na cat sat\n"
    )
    assert tokenizer.decode([]) == ""


@settings(deadline=None, derandomize=True)
@given(st.text(alphabet="a \n\r\t\u2028=", max_size=40), st.text(alphabet="ab \n", max_size=40))
def test_joined_lines_are_joined_tokens(one, other):
    tokenizer = learned("a a = b ab aa =a")
    ids = tokenizer.encode(one)
    assert len(ids) == len(one.split()) + one.count("\n")
    assert tokenizer.encode(tokenizer.decode(ids)).tolist() == ids.tolist()
    joined = tokenizer.encode(f"{one}\n{other}").tolist()
    assert joined == [*ids, 0, *tokenizer.encode(other)]


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (None, "no list that begins with <eos>, <unk>"),
        (["<unk>", "<eos>"], "no list that begins"),
        (["<eos>", "<unk>", 3], "3 is not a word"),
        (["<eos>", "<unk>", "a b"], "'a b' is not a word"),
        (["<eos>", "<unk>", ""], "'' is not a word"),
        (["<eos>", "<unk>", "a", "a"], "a word is there twice"),
    ],
)
def test_damaged_vocabulary_is_refused(tmp_path, words, problem):
    (tmp_path / "tokenizer.json").write_text(json.dumps({"kind": "words", "words": words}))
    with pytest.raises(CheckpointError, match=rf"cannot be used \(.*{problem}"):
        load_tokenizer(tmp_path)


@pytest.fixture(scope="module")
def wikitext():
    """The words of WikiText-2's training text."""
    config = CorpusConfig(wikitext=True)
    documents = read_documents([str(data_file("wikitext-2/wiki.train.tokens"))], config)
    assert len(documents) == 600
    return train_tokenizer(TokenizerConfig(kind="words", vocabulary=50_000), documents)


def test_the_vocabulary_of_wikitext2(wikitext):
    assert isinstance(wikitext, WordTokenizer)
    assert wikitext.vocab_size == 33_278


@pytest.mark.parametrize(("part", "count"), [("valid", 217_646), ("test", 245_569)])
def test_the_tokens_of_wikitext2(wikitext, part, count):
    path = data_file(f"wikitext-2/wiki.{part}.tokens")
    whole = wikitext.encode(path.read_text(encoding="utf-8"))
    articles = read_documents([str(path)], CorpusConfig(wikitext=True))
    assert len(articles) == 60
    tokens = wikitext.encode_all([article.text for article in articles])
    assert len(whole) == sum(map(len, tokens)) == count
    unknown = Counter(path.read_text(encoding="utf-8").split())["<unk>"]
    assert (whole == 1).sum() == unknown  # the published vocabulary leaves no other word out
