import math

import numpy as np
import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.lm import Reader, Tally, passages, require_memory, score
from sparsemeta.lm.reading import segments
from sparsemeta.lm.text import ByteTokenizer, Document
from tests.tiny import OUTPUT, assert_same_state, tiny_model

DOCUMENT = Document("a", "the fox saw the dog; the dog saw the fox 日\n" * 3)
BYTES, COUNT = ByteTokenizer(), 135
(TEXT,) = passages(BYTES, [DOCUMENT])


@pytest.mark.parametrize("segment", [1, 7, 135, 256])
@pytest.mark.parametrize(
    ("memory_layers", "output"), [((0, 1), ()), ((), ()), ((1,), OUTPUT), ((), OUTPUT)], ids=str
)
def test_a_text_is_scored_as_in_one_forward_pass(segment, memory_layers, output):
    model, reached = tiny_model(memory_layers=memory_layers, output=output), []
    ids = torch.tensor([[256, *DOCUMENT.text.encode()]])
    with torch.no_grad():
        predicted = model(ids)[0][0, :-1].log_softmax(-1)
    nats = -predicted.gather(1, ids[0, 1:, None]).sum().item()
    found = Reader(model, segment=segment).read(TEXT, reached.append)
    tally = found.tally
    assert tally.nats == pytest.approx(nats, rel=1e-5)
    assert (tally.tokens, tally.bytes) == (COUNT, COUNT)
    assert tally.bits_per_byte == pytest.approx(nats / math.log(2) / COUNT, rel=1e-5)
    assert tally.seconds > 0
    assert (found.words, found.words_eos) == (33, 36)
    assert [len(nats) for nats in reached[:-1]] == [segment] * (math.ceil(COUNT / segment) - 1)
    assert (np.concatenate(reached) == found.token_nats).all()


def test_the_memory_alone_crosses_texts():
    model, once, twice = tiny_model(), Reader(tiny_model()), Reader(tiny_model())
    once.read(TEXT)
    first = once.memory
    assert first is not None
    kept = first.clone()
    again = once.read(TEXT)
    assert first.diff(kept)["1.memory"]["norm"] == 0  # the memory before is still there
    assert once.memory.layers["1.memory"].steps.item() == 2 * (COUNT + 1)
    twice.read(TEXT)
    assert twice.read(TEXT).nats == again.nats
    assert Reader(model).read(TEXT).nats != again.nats
    plain = Reader(tiny_model(memory_layers=()))
    assert plain.read(TEXT).nats == plain.read(TEXT).nats  # so the window is empty


def test_a_stream_carries_the_window_too():
    model, texts = tiny_model(memory_layers=()), [DOCUMENT, DOCUMENT]
    reader = Reader(model, window="stream")
    first, second = reader.read(TEXT), reader.read(TEXT)
    assert first.nats != second.nats
    assert score(model, BYTES, texts).nats == first.nats + second.nats
    assert score(model, BYTES, texts, window="text").nats == 2 * first.nats


def test_a_memory_given_to_a_stream_stays_as_it_is():
    before = Reader(tiny_model(output=OUTPUT))
    before.read(TEXT)
    kept = before.memory.clone()
    for window in ("text", "stream"):
        reader = Reader(tiny_model(output=OUTPUT), before.memory, window=window)
        reader.read(TEXT)
        reader.read(TEXT)
        assert_same_state(before.memory, kept, rtol=0, atol=0)


def test_a_text_broken_off_was_not_read():
    reader, calls = Reader(tiny_model(), segment=40), []

    def stop(tally):
        calls.append(tally)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reader.read(TEXT, stop)
    assert reader.memory is None
    whole = reader.read(TEXT)
    assert whole.nats == Reader(tiny_model(), segment=40).read(TEXT).nats


def test_future_tokens_change_nothing_before_them():
    model = tiny_model(output=OUTPUT)
    tokens, before = TEXT.tokens.copy(), []
    for end in (b"\n..", b"cow"):
        tokens[-3:] = list(end)
        with torch.no_grad():
            logits = [p.predicted for p in segments(model, tokens, steps=0, segment=32)]
        before.append(torch.cat(logits)[:-3])
    assert torch.equal(*before)


def test_an_empty_tally():
    assert math.isnan(Tally().bits_per_byte)
    assert math.isnan(Tally().tokens_per_second)
    (empty,) = passages(BYTES, [Document("none", "")])
    assert Reader(tiny_model()).read(empty).tokens == 0


def test_bfloat16_keeps_the_memory_in_float32():
    reader = Reader(tiny_model(output=OUTPUT), precision="bf16-mixed")
    exact = Reader(tiny_model(output=OUTPUT)).read(TEXT)
    assert reader.read(TEXT).nats == pytest.approx(exact.nats, rel=0.05)
    assert reader.memory.layers["1.memory"].table.dtype == torch.float32


def test_refusals():
    with pytest.raises(ConfigError, match=r"no memory: .* Train one with model\.memory_layers"):
        require_memory(tiny_model(memory_layers=()))
    with pytest.raises(ConfigError, match="segment must be at least 1"):
        Reader(tiny_model(), segment=0)
