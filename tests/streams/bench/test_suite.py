"""The benchmarks as they are: no image of digits is learned from and asked about."""

import pytest

from sparsemeta.streams import ACCURACY, SQUARED_ERROR, ClassOrdered
from sparsemeta.streams.bench import MODELS, suite


@pytest.mark.parametrize("name", ["rebinding", "sine", "digits"])
def test_a_benchmark(name):
    pytest.importorskip("sklearn")
    bench = getattr(suite, name)()
    assert bench.name == name
    assert bench.headline in bench.tests
    assert bench.metric is (SQUARED_ERROR if name == "sine" else ACCURACY)
    assert {
        "sparse",
        "linear",
        "sign",
        "centred-relu",
        "soft-threshold",
        "additive",
        "lstm",
    } <= set(bench.forms)
    for form in bench.forms.values():
        bench.network.build(form, bench.rates[0])
    quick = bench.quick()
    assert list(quick.forms) == ["sparse"]
    assert (quick.training.steps, quick.rates) == (bench.training.steps / 4, bench.rates[:1])


def test_the_help_names_the_models_that_there_are():
    pytest.importorskip("sklearn")
    made = {
        name for bench in ("rebinding", "sine", "digits") for name in getattr(suite, bench)().forms
    }
    assert set(MODELS) == made


def test_digits_are_parted():
    pytest.importorskip("sklearn")
    bench = suite.digits()
    spans = set()
    for task in (bench.train, *bench.validation, *bench.tests.values()):
        assert isinstance(task, ClassOrdered)
        spans.add((task.images.storage_offset() // 64, task.images.shape[1]))
    assert spans == {(0, 90), (90, 30), (120, 54)}
