import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.lm.evaluation import Arm, CarriedMemory, DocumentMemory, Dynamic, Evaluator
from sparsemeta.lm.evaluation.evaluator import EXCERPT, sample
from sparsemeta.lm.text import ByteTokenizer
from tests.lm.evaluation.models import TEXT, build, documents

DYNAMIC = Dynamic(segment=8, samples=5)
LONG = documents("".join(chr(97 + i % 26) for i in range(3 * EXCERPT + 10)), "0123456789")


def excerpts(tokens, seed=0):
    """The tokens of each, without the separator that opens it."""
    return [text.tokens[1:] for text in sample(ByteTokenizer(), LONG, tokens, seed)]


def test_samples_are_excerpts_drawn_by_the_seed():
    drawn = [excerpts(2 * EXCERPT, seed) for seed in (0, 0, 1)]
    assert [part.tolist() for part in drawn[0]] == [part.tolist() for part in drawn[1]]
    assert [part.tolist() for part in drawn[0]] != [part.tolist() for part in drawn[2]]
    assert sum(map(len, drawn[0])) == 2 * EXCERPT
    texts = "".join(text.text for text in LONG)
    assert all(bytes(part.astype("uint8")).decode() in texts for part in drawn[0])


def test_a_short_text_is_read_whole():
    parts = excerpts(10**9)
    assert sum(map(len, parts)) == 3 * EXCERPT + 20


def test_scales_are_of_the_memory_that_the_arms_have():
    model, dynamic = build(), Dynamic(segment=8, samples=5)
    before = [weight.detach().clone() for weight in model.parameters()]
    evaluator = Evaluator(model, ByteTokenizer(), documents(TEXT))
    static, carried, document = (
        evaluator.prepared(DYNAMIC, Arm.of(*memory, DYNAMIC))
        for memory in ((), (CarriedMemory(),), (DocumentMemory(),))
    )
    assert carried is document
    assert evaluator.prepared(dynamic, Arm.of(Dynamic(segment=8, rate=9.0, samples=5))) is static
    assert evaluator.prepared(DYNAMIC, Arm.of(CarriedMemory())) is carried
    assert evaluator.prepared(Dynamic(segment=8, samples=6), Arm.of()) is not static
    names = [name for name, _ in model.named_parameters()]
    for name, off, on in zip(names, static.root(), carried.root(), strict=True):
        assert off.any() == ("memory" not in name and "norms.2" not in name), name
        assert on.any(), name
    for weight, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(weight, old)


def test_no_dynamic_arm_needs_no_text():
    evaluator = Evaluator(build(), ByteTokenizer())
    evaluator.require_training([Arm.of(CarriedMemory())])
    assert evaluator.prepared(CarriedMemory(), Arm.of(CarriedMemory())) is None
    with pytest.raises(ConfigError, match="the arm 'dynamic' needs training text"):
        evaluator.require_training([Arm.of(DYNAMIC)])
