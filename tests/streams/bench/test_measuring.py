import math

import pytest
import torch

from sparsemeta.config import RowsConfig
from sparsemeta.streams import ACCURACY, SQUARED_ERROR, Sine
from sparsemeta.streams.bench import RECOVERY, RETENTION, Form
from sparsemeta.streams.bench.contenders import Contender, learned, measure, untrained
from tests.streams.bench.small import small

BENCH = small()


def test_the_setting_is_chosen_on_validation_streams_and_not_on_test_streams():
    seen = []

    def predict(task, setting):
        def guess(stream):
            seen.append((setting, stream.input))
            # Right where validation streams are, wrong elsewhere, if the setting is 2.
            good = torch.equal(stream.input, seen[0][1]) == (setting == 2)
            return stream.target if good else (stream.target + 1) % 4

        return guess

    found = measure(Contender(predict, "", (1, 2), writes=True), BENCH, seed=0)
    assert found["validation"] == [(1, 0.0), (2, 1.0)]
    assert found["setting"] == 2
    assert found["scores"] == {"M = 4": 0.0, "M = 8": 0.0}
    assert found["sweep"] == [(1, 1.0), (2, 0.0)]


def test_all_contenders_of_a_seed_meet_the_same_streams():
    inputs = []

    def predict(task, setting):
        return lambda stream: inputs.append(stream.input) or stream.target

    for seed in (0, 0, 1):
        measure(Contender(predict, ""), BENCH, seed)
    first, second, other = (torch.stack(inputs[i : i + 3]) for i in (0, 3, 6))
    assert torch.equal(first, second)
    assert not (first == other).any()
    assert not torch.equal(first[0], first[2])  # validation and test, of one task


def test_the_oracle_and_those_that_need_no_training():
    found = {name: measure(c, BENCH, 0) for name, c in untrained(BENCH).items()}
    assert list(found) == ["prototypes", "lda", "sgd", "last-label"]
    assert found["last-label"]["scores"]["M = 8"] > 0.8
    assert found["sgd"]["state_bytes"] == 4 * 4 * 9  # weights and bias of 4 labels, float32
    assert len(found["sgd"]["sweep"]) == 9
    assert found["lda"]["sweep"] == []  # its setting is no write strength
    assert all(one["microseconds"] > 0 for one in found.values())


@pytest.mark.parametrize("form", [BENCH.forms["sparse"], Form(None, rows=RowsConfig(key_width=9))])
def test_a_learned_model_is_swept_and_its_state_measured(form):
    torch.manual_seed(0)
    model = BENCH.network.build(form, 0.5)
    found = measure(learned(model, form, BENCH), BENCH, 0)
    assert [setting for setting, _ in found["sweep"]] == [None, 0.1, 1.0]
    assert found["state_bytes"] == model.initial_state(1).memory.nbytes + 8 + 1


def test_curves():
    stream = BENCH.tests["M = 8"].sample(16, torch.Generator().manual_seed(0))
    scores = ACCURACY.each(BENCH.tests["M = 8"].oracle(stream), stream.target)
    recovery = dict(RECOVERY.points(stream, scores))
    assert recovery[0] < 0.1  # what has just changed cannot be known
    assert recovery[1] > 0.9
    ages = [age for age, _ in RETENTION.points(stream, scores)]
    assert ages[:4] == [1, 2, 4, 8]


def test_curves_of_errors():
    task = Sine(length=60, hazard=0.1)
    stream = task.sample(8, torch.Generator().manual_seed(0))
    recovery = dict(RECOVERY.points(stream, task.metric.each(task.oracle(stream), stream.target)))
    assert recovery[0] > 10 * recovery[5]


@pytest.mark.parametrize(("metric", "expected"), [(ACCURACY, 2), (SQUARED_ERROR, 1)])
def test_best(metric, expected):
    assert metric.best([math.nan, 0.2, 0.7]) == expected
    assert metric.best([0.5, 0.5]) == 0
