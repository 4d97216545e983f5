"""What is packed comes back bit for bit, costs what the model says, or is refused."""

import dataclasses
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import sparsemeta.errors
from sparsemeta.errors import CompressionError, ConfigError, MissingExtra
from sparsemeta.lm import Document, compress, decompress, score
from sparsemeta.lm.compression import packing
from sparsemeta.lm.compression.packed import Header, version
from sparsemeta.lm.compression.strands import places
from sparsemeta.lm.config import TokenizerConfig
from sparsemeta.lm.reading import Reader
from sparsemeta.lm.scores import passages
from sparsemeta.lm.text.tokenizer import ByteTokenizer, train_tokenizer
from tests.tiny import OUTPUT, tiny_model

BYTES = ByteTokenizer()
TEXT = b"".join(b"line %d: %d is the square of %d\n" % (n, n * n, n) for n in range(40))
HEADER = 46
V = 4096
EVERY = tiny_model(output=OUTPUT)


@pytest.fixture(autouse=True)
def _short_texts_have_strands(monkeypatch):
    monkeypatch.setattr(packing, "LEAST", 16)


def refused(file, model=EVERY, *, match):
    with pytest.raises(CompressionError, match=match):
        decompress(model, BYTES, file)


@settings(max_examples=10, deadline=None)
@given(st.one_of(st.binary(max_size=12), st.text(max_size=6).map(lambda text: text.encode())))
def test_any_bytes_come_back(data):
    assert decompress(EVERY, BYTES, compress(EVERY, BYTES, data).file) == data


@pytest.mark.parametrize("strands", [1, 3, 4])
@pytest.mark.parametrize("output", [(), OUTPUT])
def test_strands_come_back(strands, output):
    model = tiny_model(output=output)
    packed = compress(model, BYTES, TEXT[:70], strands=strands)
    assert Header.unpack(packed.file)[0].maker.strands == strands
    assert decompress(model, BYTES, packed.file) == TEXT[:70]


def test_sub_words_of_any_bytes_come_back():
    config = TokenizerConfig(kind="bpe", vocabulary=300)
    tokenizer = train_tokenizer(config, [Document("text", TEXT.decode())])
    model = tiny_model(vocabulary=tokenizer.vocab_size, output=("tables",))
    data = TEXT[:60] + b"\xff\xfe\x00\xed\xa0\x80\r\n" + "naïve ﬁ 𝄞\u0301".encode() + b"\xe2\x82"
    packed = compress(model, tokenizer, data)
    assert packed.tokens < len(data)
    assert decompress(model, tokenizer, packed.file) == data


def test_words_are_refused():
    tokenizer = train_tokenizer(TokenizerConfig(kind="words"), [Document("text", TEXT.decode())])
    model = tiny_model(vocabulary=tokenizer.vocab_size)
    for data in (b"two  spaces", b"\xff"):
        with pytest.raises(ConfigError, match="lose the white space"):
            compress(model, tokenizer, data)


def test_the_size_is_what_the_model_says():
    packed, text = compress(EVERY, BYTES, TEXT[:200], strands=1), TEXT[:200].decode()
    assert packed.bits == pytest.approx(score(EVERY, BYTES, [Document("", text)]).nats / np.log(2))
    coded = len(packed.file) - HEADER
    assert packed.bits / 8 <= coded + 0.1 <= 1.001 * packed.bits / 8 + 8


def test_coding_costs_less_than_a_thousandth():
    coder, family = packing._coder()
    logits = 4 * np.random.default_rng(0).standard_normal((2000, V))
    p = torch.from_numpy(logits).softmax(-1, dtype=torch.float32)
    tokens = p.multinomial(1)[:, 0].numpy().astype(np.int32)
    encoder = coder.RangeEncoder()
    encoder.encode(tokens, family, p.numpy())
    bits = -np.log2(p.numpy()[np.arange(len(tokens)), tokens], dtype=np.float64).sum()
    assert bits <= 32 * len(encoder.get_compressed()) <= 1.0005 * bits + 64


def test_what_was_read_before_helps_and_must_be_there_again():
    reader = Reader(EVERY)
    (passage,) = passages(BYTES, [Document("", TEXT.decode())])
    reader.read(passage)
    memory = reader.memory
    before = {name: x.clone() for name, x in memory.tensors().items()}
    packed = compress(EVERY, BYTES, TEXT[:120], memory, strands=3)
    assert decompress(EVERY, BYTES, packed.file, memory) == TEXT[:120]
    assert all(torch.equal(x, before[name]) for name, x in memory.tensors().items())
    alone = compress(EVERY, BYTES, TEXT[:120], strands=3)
    assert len(packed.file) < len(alone.file)
    refused(packed.file, match=r"with a memory\. Name its file: --memory")
    with pytest.raises(CompressionError, match=r"without a memory\. Leave out --memory"):
        decompress(EVERY, BYTES, alone.file, memory)
    reader.read(passage)
    with pytest.raises(CompressionError, match="another memory, or an earlier"):
        decompress(EVERY, BYTES, packed.file, reader.memory)


def test_a_file_with_any_byte_changed_or_missing_is_refused():
    file = compress(EVERY, BYTES, TEXT[:60]).file
    for i, change in product(range(len(file)), (1, 0x80)):
        bad = bytearray(file)
        bad[i] ^= change
        refused(bytes(bad), match="not a file that|is damaged|is of format")
    for size in range(len(file)):
        refused(file[:size], match="not a file that|is damaged")
    refused(file + b"\0", match="is damaged")


def test_another_maker_is_refused(monkeypatch):
    file = compress(EVERY, BYTES, TEXT[:60]).file
    refused(file, tiny_model(output=OUTPUT, seed=1), match="another model. Name the model")
    other = tiny_model(output=OUTPUT)
    other.config = dataclasses.replace(other.config, window=8)
    refused(file, other, match="another model")
    torch.set_num_threads(2)
    refused(file, match="a thread count of 1, but here it is 2.* Set OMP_NUM_THREADS=1")
    torch.set_num_threads(1)
    monkeypatch.setattr(torch, "__version__", "9.8.7+cpu")
    refused(file, match=r"with torch 2\.\d+\.\d+, but this is 9\.8\.7")


def test_another_machine_is_refused():
    header, coded = Header.unpack(compress(EVERY, BYTES, TEXT[:60]).file)
    rounded = header.maker._replace(arithmetic=b"else")
    refused(header._replace(maker=rounded).pack(coded), match="on another machine")


@pytest.mark.parametrize("coded", [b"", b"\xff" * 40, bytes(range(48))])
def test_what_cannot_be_decoded_is_never_given_out(coded):
    header, _ = Header.unpack(compress(EVERY, BYTES, TEXT[:60]).file)
    refused(header.pack(coded), match="not what went in")


def test_what_cannot_pack():
    with pytest.raises(ConfigError, match="only models that `sparsemeta train` made"):
        compress(object(), BYTES, b"")
    for strands in (0, 256):
        with pytest.raises(ConfigError, match="1 to 255"):
            compress(EVERY, BYTES, b"", strands=strands)


def test_a_missing_coder_is_named(monkeypatch):
    monkeypatch.setattr(sparsemeta.errors, "installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"constriction.*sparsemeta\[compress\]"):
        compress(EVERY, BYTES, b"")


@given(st.integers(0, 300), st.integers(1, 40))
def test_every_place_is_read_once_and_strands_in_order(tokens, strands):
    steps = list(places(tokens, strands))
    assert sorted(np.concatenate([np.zeros(0), *steps]).tolist()) == list(range(tokens))
    for before, after in pairwise(steps):
        assert (after == before[: len(after)] + 1).all()
    assert all(len(step) == strands for step in steps[:-1])


def test_versions():
    assert version("2.13.0+cpu") == bytes([2, 13, 0])
    assert version("3.0rc1") == bytes([3, 0, 0])
