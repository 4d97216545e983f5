"""The exported tokenizer encodes and decodes as ours does."""

import pytest

pytest.importorskip("transformers")

from hypothesis import given, settings, strategies as st
from transformers import AutoTokenizer

from sparsemeta.lm.config import TokenizerConfig
from sparsemeta.lm.hf.tokenizer import fast_tokenizer
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import train_tokenizer

KINDS = ["bpe", "bytes", "words"]
TEXT = "the cat  sat on\n the <eos> mat , <unk>\n\n and é 𝄞\r\n\tthe <|separator|> cat a<eos>b \n"
TEXTS = [TEXT, "", " ", "\n", "x\n", " <eos>", "\x1c\x85\u2028\u3000the\u00a0cat", "##cat the"]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """By kind, our tokenizer and the same, saved and loaded by transformers."""
    made = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        vocabulary = 12 if kind == "words" else 280
        documents = [Document("a", TEXT * 3)]
        ours = train_tokenizer(TokenizerConfig(kind, vocabulary), documents)
        ours.save(folder)
        fast_tokenizer(folder / "tokenizer.json", ours.separator).save_pretrained(folder)
        made[kind] = ours, AutoTokenizer.from_pretrained(folder)
    return made


def check(pair, text):
    ours, theirs = pair
    expected = ours.encode(text).tolist()
    assert theirs(text, add_special_tokens=False)["input_ids"] == expected
    assert theirs(text)["input_ids"] == [ours.separator, *expected]
    assert theirs.decode(expected) == ours.decode(expected)


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("kind", KINDS)
def test_text_is_encoded_and_decoded_alike(pairs, kind, text):
    check(pairs[kind], text)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.sampled_from("a \n\t\x1f<eos>thect\u00e9\u2003"), max_size=30))
@settings(max_examples=40, deadline=None)
def test_any_text_is(pairs, kind, text):
    check(pairs[kind], text)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_padded_at_the_left(pairs, kind):
    ours, theirs = pairs[kind]
    batch = theirs(["the cat sat", "the"], padding=True)
    assert set(batch) == {"input_ids", "attention_mask"}
    short = len(ours.encode("the")) + 1
    assert batch["attention_mask"][1] == [0] * (len(batch["input_ids"][0]) - short) + [1] * short
    special = theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id, len(theirs)
    assert special == (ours.separator, ours.separator, ours.separator, ours.vocab_size)
