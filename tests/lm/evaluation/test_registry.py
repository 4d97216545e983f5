"""A part of an arm is its mathematics and a row of the registry: everything else follows."""

from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

import pytest
import torch

from sparsemeta.config import Within
from sparsemeta.lm.evaluation import evaluate
from sparsemeta.lm.evaluation.adaptations import ADAPTATIONS, Adaptation
from sparsemeta.lm.reading import Learner
from sparsemeta.lm.text import ByteTokenizer, Document
from tests.tiny import tiny_model

TEXTS = [Document("a", "a fox saw a dog; " * 8)]


class Unigram(Learner):
    """Counts tokens, each once more than it was seen."""

    def __init__(self, weight):
        self.weight, self.seen = weight, torch.ones(257)

    def mix(self, log_p, hidden, targets):
        found = []
        for model, target in zip(log_p.exp(), targets.tolist(), strict=True):
            share = self.seen[target] / self.seen.sum()
            found.append(torch.lerp(model, share, self.weight).log())
            self.seen[target] += 1
        return torch.stack(found)


@dataclass(frozen=True)
class Counts(Adaptation, section="counts"):
    """Counts of tokens."""

    name = "counts"
    about = "counts of what was read are mixed in"
    weight: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = 0.5

    @contextmanager
    def adapting(self, model, prepared):
        yield Unigram(self.weight)

    def describe(self):
        return f"counts: weight {self.weight:g}"


def test_a_part_of_an_arm_is_a_class_and_a_row(monkeypatch):
    monkeypatch.setitem(ADAPTATIONS, "counts", Counts)
    found = evaluate(
        tiny_model(), ByteTokenizer(), TEXTS, arms=["carried", "carried+counts", "counts"]
    )
    assert list(found) == ["carried", "carried+counts", "counts"]
    assert found["carried+counts"].policy.endswith("counts: weight 0.5")
    assert found["carried+counts"].settings == {"counts": {"weight": 0.5}}
    assert found["counts"].total.nats < found["carried"].total.nats  # the model is untrained


def test_bounds_are_its_own():
    with pytest.raises(ValueError, match=r"counts\.weight = 1\.0 must lie in \(0, 1\)"):
        Counts(weight=1.0)
