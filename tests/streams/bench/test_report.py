import io

import pytest
from rich.console import Console

from sparsemeta.streams import ACCURACY, SQUARED_ERROR
from sparsemeta.streams.bench import Findings, summary, table, tolerance
from tests.streams.bench.small import small
from tests.streams.tasks import SMALL

LABELS, VALUES = small(), small(train=SMALL["sine"])


def seen(score, sweep=(), **more):
    about = {"what": "it", "setting": None, "microseconds": 20.0, "state_bytes": 2048}
    return about | {"scores": {"M = 8": score}, "sweep": sweep} | more


FOUND = [
    {
        "sparse": seen(0.9, [[None, 0.9], [0.01, 0.5], [0.1, 0.86], [1.0, 0.88]]),
        "linear": seen(0.7),
        "sign": seen(0.6),
    },
    {
        "sparse": seen(0.8, [[None, 0.8], [0.01, 0.5], [0.1, 0.8], [1.0, 0.8]], setting=0.1),
        "linear": seen(0.65),
        "sign": seen(0.6),
    },
]


def printed(bench, seeds):
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(table(Findings(bench, seeds)))
    return console.export_text()


def test_table():
    lines = printed(LABELS, FOUND).splitlines()
    assert lines[0].split() == [
        *("contender", "remembers", "with", "M", "=", "8", "chosen", "tolerance", "us/step"),
        "state",
    ]
    assert " ".join(lines[1].split()) == "sparse it 85.0 ± 7.1 own, 0.1 1.0 20 2.0 KiB"
    assert " ".join(lines[2].split()) == "linear it 67.5 ± 3.5 20 2.0 KiB"


def test_table_of_errors():
    text = printed(VALUES, FOUND[:1])
    assert "0.900" in text
    assert "tolerance" not in text


def test_sparse_is_compared_with_the_best_dense_control_seed_by_seed():
    text = summary(Findings(LABELS, FOUND))
    assert "M = 8: sparse less linear, the best dense control: +17.5 ± 3.5" in text
    assert "sparse less sign" in summary(Findings(VALUES, FOUND))  # the least error
    assert "sparse less" not in summary(Findings(LABELS, [{"linear": seen(0.7)}]))


@pytest.mark.parametrize(
    ("scores", "decades"),
    [([0.1, 0.5, 0.1], 0), ([0.49, 0.5, 0.46], 2), ([0.5, 0.1, 0.5], 0), ([0.2, 0.6, 0.58], 1)],
)
def test_tolerance(scores, decades):
    points = list(zip((0.01, 0.1, 1.0), scores, strict=True))
    assert tolerance(points, 0.05) == pytest.approx(decades)


def test_spread():
    assert ACCURACY.show([0.5]) == "50.0"
    assert ACCURACY.show([0.5, 0.7], sign=True) == "+60.0 ± 14.1"
    assert SQUARED_ERROR.show([0.25]) == "0.250"
