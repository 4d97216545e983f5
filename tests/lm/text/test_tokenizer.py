import json
import re

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import CheckpointError, ConfigError, CorpusError
from sparsemeta.lm.config import TokenizerConfig
from sparsemeta.lm.text import tokenizer as module
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import (
    BPETokenizer,
    ByteTokenizer,
    load_tokenizer,
    train_tokenizer,
)

DOCUMENTS = [
    Document("a.py", "def read(path):\n    return path.read_text()\n" * 5),
    Document("b.md", "a separator is not <sep>, and 𝄞 naïve text stays naïve text\r\n" * 5),
]
CONFIG = TokenizerConfig(vocabulary=300)
WORDS = train_tokenizer(TokenizerConfig(kind="words", vocabulary=16), DOCUMENTS)
TOKENIZERS = [train_tokenizer(CONFIG, DOCUMENTS), ByteTokenizer(), WORDS]

any_tokenizer = pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["bpe", "bytes", "words"])
lossless = pytest.mark.parametrize("tokenizer", TOKENIZERS[:2], ids=["bpe", "bytes"])


@lossless
@settings(deadline=None, derandomize=True)
@given(text=st.text(max_size=40))
def test_any_text_comes_back_and_never_holds_the_separator(tokenizer, text):
    ids = tokenizer.encode(text)
    assert ids.dtype == np.int32
    assert tokenizer.decode(ids) == text
    assert (ids < tokenizer.separator).all()


@lossless
@pytest.mark.parametrize("text", ["<|endoftext|>", "<sep>", "[SEP]</s>", "\0\x1c", "  \n\t\n  x  "])
def test_text_that_looks_special_is_plain_text(tokenizer, text):
    ids = tokenizer.encode(text)
    assert tokenizer.separator not in ids
    assert tokenizer.decode(ids) == text


@lossless
def test_decode_drops_separators(tokenizer):
    ids = [tokenizer.separator, *tokenizer.encode("one"), tokenizer.separator]
    assert tokenizer.decode(ids) == "one"


@any_tokenizer
def test_many_texts_encode_as_each_alone(tokenizer):
    texts = ["", *(document.text for document in DOCUMENTS), "", "x"]
    for ids, text in zip(tokenizer.encode_all(texts), texts, strict=True):
        assert ids.dtype == np.int32
        assert ids.tolist() == tokenizer.encode(text).tolist()
        assert ((ids >= 0) & (ids < tokenizer.vocab_size)).all()


@any_tokenizer
def test_lone_surrogate_is_refused(tokenizer):
    with pytest.raises(CorpusError, match="character 2"):
        tokenizer.encode("ab\ud800")


@any_tokenizer
def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert type(loaded) is type(tokenizer)
    assert loaded.vocab_size == tokenizer.vocab_size
    assert loaded.separator == tokenizer.separator
    assert loaded.fingerprint() == tokenizer.fingerprint()
    assert loaded.encode(DOCUMENTS[1].text).tolist() == tokenizer.encode(DOCUMENTS[1].text).tolist()


def test_training_is_deterministic_and_learns_pairs(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        train_tokenizer(CONFIG, DOCUMENTS).save(tmp_path / name)
    one, two = ((tmp_path / name / "tokenizer.json").read_bytes() for name in ("one", "two"))
    assert one == two
    assert TOKENIZERS[0].vocab_size == 300
    assert len(TOKENIZERS[0].encode(DOCUMENTS[0].text)) < len(DOCUMENTS[0].text) / 2


@settings(deadline=None, derandomize=True)
@given(st.text(alphabet="a.'\t \n\u00a0\u0085é ", max_size=200))
def test_cutting_into_pieces_changes_no_token(text):
    tokenizer = BPETokenizer.train([document.text for document in DOCUMENTS], 300)
    whole = tokenizer._pairs.encode(text).ids
    long = module._PIECE
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PIECE", re.compile(long.pattern.replace("65536", "3"), long.flags))
        patch.setattr(module, "_PIECES_AT_ONCE", 4)
        assert tokenizer.encode(text).tolist() == whole


def test_configured_kind_and_size():
    assert isinstance(train_tokenizer(TokenizerConfig(kind="bytes"), []), ByteTokenizer)
    smallest = train_tokenizer(TokenizerConfig(vocabulary=257), DOCUMENTS)
    assert isinstance(smallest, BPETokenizer)
    assert smallest.decode(smallest.encode("naïve 𝄞")) == "naïve 𝄞"
    with pytest.raises(ConfigError, match="vocabulary = 256 must be at least 257"):
        train_tokenizer(TokenizerConfig(vocabulary=256), DOCUMENTS)


def test_fingerprints_tell_tokenizers_apart():
    other = train_tokenizer(TokenizerConfig(vocabulary=301), DOCUMENTS)
    assert len({tokenizer.fingerprint() for tokenizer in [*TOKENIZERS, other]}) == 4


def test_missing_file_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be used .*Restore it"):
        load_tokenizer(tmp_path)


def _damaged():
    saved = TOKENIZERS[0]._to_json()
    lossy, prefix, gap, short = (json.loads(saved) for _ in range(4))
    lossy["normalizer"] = {"type": "NFC"}
    prefix["pre_tokenizer"]["add_prefix_space"] = True
    gap["model"]["vocab"]["extra"] = 5000
    del short["model"]["vocab"]["a"]
    short["model"]["merges"] = []
    whole = (json.dumps(item) for item in (lossy, prefix, gap, short))
    return [b"", saved[: len(saved) // 2].encode(), b"\xff\xfe", b'{"kind": "tokens"}', b"[]"] + [
        item.encode() for item in whole
    ]


@pytest.mark.parametrize("data", _damaged())
def test_damaged_file_is_refused(tmp_path, data):
    (tmp_path / "tokenizer.json").write_bytes(data)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: cannot be used .*Restore it"):
        load_tokenizer(tmp_path)


def spelt(tokenizer, length):
    """The last bytes of every token, as `endings` gives them."""
    found = tokenizer.endings(length)
    assert found.shape == (tokenizer.vocab_size, length)
    assert found.dtype == np.int16
    assert all((row >= 0).tolist() == sorted(row >= 0) for row in found)  # the newest stands last
    return [bytes(row[row >= 0].tolist()) for row in found]


@lossless
def test_the_bytes_of_tokens_are_those_of_the_text(tokenizer):
    text = DOCUMENTS[1].text + "日本語 \0\x7f\u00a0\u00ad🙂"
    whole = spelt(tokenizer, 64)
    assert b"".join(whole[i] for i in tokenizer.encode(text)) == text.encode()
    for token, ending in enumerate(whole[: tokenizer.separator]):
        assert tokenizer.decode([token]) == ending.decode(errors="replace")
    assert whole[tokenizer.separator] == b"\0"
    assert spelt(tokenizer, 2) == [ending[-2:] for ending in whole]


def test_a_word_ends_with_a_space_and_a_line_with_its_end():
    text = DOCUMENTS[0].text
    found = b"".join(spelt(WORDS, 64)[i] for i in WORDS.encode(text))
    assert found.decode().split() == WORDS.decode(WORDS.encode(text)).split()
    assert spelt(WORDS, 64)[WORDS.encode("\n")[0]] == b"\n"
    assert all(ending[-1:] in b" \n" for ending in spelt(WORDS, 3))
