import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.lm.scoring.arms.arm import Arm
from sparsemeta.lm.scoring.arms.backbone import backbone_of
from sparsemeta.lm.scoring.arms.settings import DynamicSettings
from sparsemeta.lm.scoring.arms.statistics import EXCERPT, gradient_scales, sample
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from tests.lm.scoring.arms.models import TEXT, build, documents

DYNAMIC = DynamicSettings(segment=8, samples=5)
LONG = documents("".join(chr(97 + i % 26) for i in range(3 * EXCERPT + 10)), "0123456789")


def test_samples_are_excerpts_drawn_by_the_seed():
    drawn = [sample(ByteTokenizer(), LONG, 2 * EXCERPT, seed) for seed in (0, 0, 1)]
    assert [part.tolist() for part in drawn[0]] == [part.tolist() for part in drawn[1]]
    assert [part.tolist() for part in drawn[0]] != [part.tolist() for part in drawn[2]]
    assert sum(map(len, drawn[0])) == 2 * EXCERPT
    texts = "".join(text.text for text in LONG)
    assert all(bytes(part.astype("uint8")).decode() in texts for part in drawn[0])


def test_a_short_text_is_read_whole():
    parts = sample(ByteTokenizer(), LONG, 10**9)
    assert sum(map(len, parts)) == 3 * EXCERPT + 20


def test_scales_are_of_the_memory_that_the_arms_have():
    model = build()
    arms = [Arm("static", dynamic=DYNAMIC), Arm("document"), Arm("carried", dynamic=DYNAMIC)]
    before = [weight.detach().clone() for weight in model.parameters()]
    scales = gradient_scales(backbone_of(model), ByteTokenizer(), documents(TEXT), arms)
    assert scales.keys() == {True, False}
    names = [name for name, _ in model.named_parameters()]
    for name, off, on in zip(names, scales[False], scales[True], strict=True):
        assert off.any() == ("memory" not in name and "norms.2" not in name), name
        assert on.any(), name
    for weight, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(weight, old)


def test_no_dynamic_arm_needs_no_text():
    model = backbone_of(build())
    assert gradient_scales(model, ByteTokenizer(), [], [Arm("carried")]) == {}
    with pytest.raises(ConfigError, match="the arm 'dynamic' needs training text"):
        gradient_scales(model, ByteTokenizer(), [], [Arm(dynamic=DYNAMIC)])
