import math

import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.lm.reading import Reader, Tally, opened, require_memory, segments
from sparsemeta.lm.text.sources import Document
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from tests.tiny import tiny_model

TEXT = Document("a", "the fox saw the dog; the dog saw the fox 日\n" * 3)
BYTES, COUNT = ByteTokenizer(), 135


@pytest.mark.parametrize("segment", [1, 7, 135, 256])
@pytest.mark.parametrize("memory_layers", [(0, 1), ()])
def test_a_text_is_scored_as_in_one_forward_pass(segment, memory_layers):
    model, reached = tiny_model(memory_layers=memory_layers), []
    ids = torch.tensor([[256, *TEXT.text.encode()]])
    with torch.no_grad():
        predicted = model(ids)[0][0, :-1].log_softmax(-1)
    nats = -predicted.gather(1, ids[0, 1:, None]).sum().item()
    tally = Reader(model, BYTES, segment=segment).read(TEXT, reached.append)
    assert tally.nats == pytest.approx(nats, rel=1e-5)
    assert (tally.tokens, tally.bytes) == (COUNT, COUNT)
    assert tally.bits_per_byte == pytest.approx(nats / math.log(2) / COUNT, rel=1e-5)
    assert tally.seconds > 0
    assert len(reached) == math.ceil((COUNT + 1) / segment)
    assert reached[-1] == tally
    assert reached[0].tokens == min(segment, COUNT)


def test_the_memory_alone_crosses_texts():
    model, once, twice = tiny_model(), Reader(tiny_model(), BYTES), Reader(tiny_model(), BYTES)
    once.read(TEXT)
    first = once.memory
    assert first is not None
    kept = first.clone()
    again = once.read(TEXT)
    assert first.diff(kept)["1.memory"]["norm"] == 0  # the memory before is still there
    assert once.memory.layers["1.memory"].steps.item() == 2 * (COUNT + 1)
    twice.read(TEXT)
    assert twice.read(TEXT).nats == again.nats
    assert Reader(model, BYTES).read(TEXT).nats != again.nats
    plain = Reader(tiny_model(memory_layers=()), BYTES)
    assert plain.read(TEXT).nats == plain.read(TEXT).nats  # so the window is empty


def test_a_text_broken_off_was_not_read():
    reader, calls = Reader(tiny_model(), BYTES, segment=40), []

    def stop(tally):
        calls.append(tally)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reader.read(TEXT, stop)
    assert reader.memory is None
    whole = reader.read(TEXT)
    assert whole.nats == Reader(tiny_model(), BYTES, segment=40).read(TEXT).nats


def test_future_tokens_change_nothing_before_them():
    model = tiny_model()
    tokens, before = opened(BYTES, TEXT.text), []
    for end in (b"\n..", b"cow"):
        tokens[-3:] = list(end)
        with torch.no_grad():
            logits = [part for part, _, _ in segments(model, tokens, None, 32)]
        before.append(torch.cat(logits)[:-3])
    assert torch.equal(*before)


def test_an_empty_tally():
    assert math.isnan(Tally().bits_per_byte)
    assert math.isnan(Tally().tokens_per_second)
    assert Reader(tiny_model(), BYTES).read(Document("none", "")).tokens == 0


def test_bfloat16_keeps_the_memory_in_float32():
    reader = Reader(tiny_model(), BYTES, precision="bf16-mixed")
    exact = Reader(tiny_model(), BYTES).read(TEXT)
    assert reader.read(TEXT).nats == pytest.approx(exact.nats, rel=0.05)
    assert reader.memory.layers["1.memory"].table.dtype == torch.float32


def test_refusals():
    with pytest.raises(ConfigError, match=r"no memory: .* Train one with model\.memory_layers"):
        require_memory(tiny_model(memory_layers=()))
    with pytest.raises(ConfigError, match="segment must be at least 1"):
        Reader(tiny_model(), BYTES, segment=0)
