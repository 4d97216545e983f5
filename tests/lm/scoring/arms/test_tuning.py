import math

import pytest

from sparsemeta.errors import ConfigError
from sparsemeta.lm.scoring.arms import grid
from sparsemeta.lm.scoring.arms.arm import Arm
from sparsemeta.lm.scoring.arms.backbone import backbone_of
from sparsemeta.lm.scoring.arms.grid import Trial, Tuned
from sparsemeta.lm.scoring.arms.settings import CacheSettings, DynamicSettings
from sparsemeta.lm.scoring.arms.statistics import gradient_scales
from sparsemeta.lm.scoring.arms.tuning import tune
from sparsemeta.lm.scoring.evaluation import evaluate
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from tests.lm.scoring.arms.models import TEXT, build, documents

CACHE = CacheSettings(size=30)
DYNAMIC = DynamicSettings(segment=32, samples=3)
VALIDATION = documents(TEXT[:100], TEXT)


@pytest.fixture(autouse=True)
def _small_grid(monkeypatch):
    monkeypatch.setattr(grid, "RATES", (1e-5, 1e-3))
    monkeypatch.setattr(grid, "DECAYS", (1e-2,))


def test_the_choice_is_the_best_of_the_grid_and_its_score_is_an_evaluation():
    model = build()
    arms = [
        Arm("static", cache=CACHE),
        Arm("carried", dynamic=DYNAMIC),
        Arm("carried", cache=CACHE, dynamic=DYNAMIC),
        Arm("document"),
    ]
    backbone, tokenizer = backbone_of(model), ByteTokenizer()
    scales = gradient_scales(backbone, tokenizer, documents(TEXT), arms)
    chosen, tuned = tune(backbone, tokenizer, VALIDATION, arms, scales=scales)

    assert [(t.memory, len(t.trials)) for t in tuned] == [
        ("static", 25),
        ("carried", 2),
        ("carried", 25),
    ]
    best = [t.best.settings for t in tuned]
    assert chosen == [
        Arm("static", cache=best[0]),
        Arm("carried", dynamic=best[1]),
        Arm("carried", cache=best[2], dynamic=best[1]),
        Arm("document"),
    ]
    assert tuned[1].trials[1].settings == DynamicSettings(32, 5e-4, 1e-2, 3)
    for grid_ in tuned[:2]:
        for trial in (grid_.trials[0], grid_.best):
            part = "cache" if isinstance(trial.settings, CacheSettings) else "dynamic"
            arm = Arm(grid_.memory, **{part: trial.settings})
            score = evaluate(model, tokenizer, VALIDATION, arms=[arm], scales=scales)[str(arm)]
            assert trial.nats == pytest.approx(score.total.nats / score.total.tokens, rel=1e-5)
    assert tuned[0].best.nats == min(t.nats for t in tuned[0].trials)


def test_only_the_first_tokens_are_read():
    backbone = backbone_of(build())
    arms = [Arm(cache=CACHE)]
    changed = documents(TEXT[:100], TEXT[:20] + "#" * 100)
    found = [
        tune(backbone, ByteTokenizer(), texts, arms, tokens=120)[1][0].best.nats
        for texts in (VALIDATION, changed)
    ]
    assert found[0] == found[1]


def test_what_diverged_is_never_chosen():
    one, other, lost = (DynamicSettings(rate=rate) for rate in (0.1, 0.2, 0.3))
    tuned = Tuned("static", (Trial(lost, math.nan), Trial(one, 2.0), Trial(other, 1.0)))
    assert tuned.best.settings == other
    data = tuned.to_dict()
    assert data["chosen"]["rate"] == 0.2
    assert [trial["nats"] for trial in data["trials"]] == [None, 2.0, 1.0]


def test_bad_requests():
    backbone = backbone_of(build())
    with pytest.raises(ConfigError, match="no validation text"):
        tune(backbone, ByteTokenizer(), documents(""), [Arm(cache=CACHE)])
    with pytest.raises(ConfigError, match="tune_tokens must be at least 1"):
        tune(backbone, ByteTokenizer(), VALIDATION, [Arm(cache=CACHE)], tokens=0)
