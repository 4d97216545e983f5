import math

import pytest
import torch

from sparsemeta.errors import ConfigError
from sparsemeta.lm import evaluate, passages
from sparsemeta.lm.evaluation import (
    Arm,
    Cache,
    CarriedMemory,
    DocumentMemory,
    Dynamic,
    Evaluator,
    tune,
)
from sparsemeta.lm.evaluation.evaluator import Trial, Tuned
from sparsemeta.lm.text import ByteTokenizer
from tests.lm.evaluation.models import TEXT, build, documents

CACHE = Cache(size=30)
DYNAMIC = Dynamic(segment=32, samples=3)
VALIDATION = documents(TEXT[:100], TEXT)


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch):
    monkeypatch.setattr(Dynamic, "axes", {"rate": (1e-5, 1e-3), "decay": (1e-2,)})


def tuned_on(texts, arms, tokens=40_000):
    """Tune the arms of a new model."""
    evaluator = Evaluator(build(), ByteTokenizer(), documents(TEXT))
    return tune(evaluator, passages(ByteTokenizer(), texts), arms, tokens=tokens)


def test_the_choice_is_the_best_of_the_grid_and_its_score_is_an_evaluation():
    model, tokenizer = build(), ByteTokenizer()
    arms = [
        Arm.of(CACHE),
        Arm.of(CarriedMemory(), DYNAMIC),
        Arm.of(CarriedMemory(), CACHE, DYNAMIC),
        Arm.of(DocumentMemory()),
    ]
    evaluator = Evaluator(model, tokenizer, documents(TEXT))
    chosen, tuned = tune(evaluator, passages(tokenizer, VALIDATION), arms)

    assert [(t.memory, len(t.trials)) for t in tuned] == [
        ("static", 25),
        ("carried", 2),
        ("carried", 25),
    ]
    best = [t.best.settings for t in tuned]
    assert chosen == [
        Arm.of(best[0]),
        Arm.of(CarriedMemory(), best[1]),
        Arm.of(CarriedMemory(), best[2], best[1]),
        Arm.of(DocumentMemory()),
    ]
    assert tuned[1].trials[1].settings == Dynamic(32, 5e-4, 1e-2, 3)
    for grid_ in tuned[:2]:
        for trial in (grid_.trials[0], grid_.best):
            arm = Arm.parse(f"{grid_.memory}+{grid_.part}", [trial.settings])
            training = documents(TEXT)
            found = evaluate(model, tokenizer, VALIDATION, arms=[arm], training=training)
            score = found[str(arm)]
            assert trial.nats == pytest.approx(score.total.nats / score.total.tokens, rel=1e-5)
    assert tuned[0].best.nats == min(t.nats for t in tuned[0].trials)


def test_only_the_first_tokens_are_read():
    arms = [Arm.of(CACHE)]
    changed = documents(TEXT[:100], TEXT[:20] + "#" * 100)
    torch.manual_seed(0)
    one = tuned_on(VALIDATION, arms, tokens=120)
    torch.manual_seed(0)
    other = tuned_on(changed, arms, tokens=120)
    found = [tuned[0].best.nats for _, tuned in (one, other)]
    assert found[0] == found[1]


def test_what_diverged_is_never_chosen():
    one, other, lost = (Dynamic(rate=rate) for rate in (0.1, 0.2, 0.3))
    tuned = Tuned("static", (Trial(lost, math.nan), Trial(one, 2.0), Trial(other, 1.0)))
    assert tuned.best.settings == other
    data = tuned.to_dict()
    assert data["chosen"]["rate"] == 0.2
    assert [trial["nats"] for trial in data["trials"]] == [None, 2.0, 1.0]


def test_bad_requests():
    with pytest.raises(ConfigError, match="no validation text"):
        tuned_on(documents(""), [Arm.of(CACHE)])
    with pytest.raises(ConfigError, match="tune_tokens must be at least 1"):
        tuned_on(VALIDATION, [Arm.of(CACHE)], tokens=0)
