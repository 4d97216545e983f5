import pytest

from sparsemeta.errors import ConfigError
from sparsemeta.plotting import require_plotting
from sparsemeta.streams.bench import Findings, plot
from sparsemeta.streams.bench.findings import panels
from tests.streams.bench.small import small
from tests.streams.tasks import SMALL

pytest.importorskip("matplotlib")


def seen(recovery, sweep=()):
    return {"recovery": recovery, "retention": [], "sweep": list(sweep)}


FOUND = [
    {"sparse": seen([[0, 0.0], [1, 0.8]], [[None, 0.9], [0.1, 0.5], [1.0, 0.7]]), "lda": seen([])},
    {"sparse": seen([[0, 0.2], [1, 1.0]], [[None, 0.9], [0.1, 0.7], [1.0, 0.9]]), "lda": seen([])},
]


def test_means_over_seeds():
    assert panels(Findings(small(), FOUND)) == {
        "lessons since the switch": ("linear", {"sparse": [(0, 0.1), (1, 0.9)]}),
        "write strength, held": ("log", {"sparse": [(0.1, 0.6), (1.0, pytest.approx(0.8))]}),
    }


@pytest.mark.parametrize("found", [FOUND, [{"lda": seen([])}]])
@pytest.mark.parametrize("bench", [small(), small(train=SMALL["sine"])])
def test_a_figure(tmp_path, found, bench):
    plot(Findings(bench, found), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_name_that_is_no_picture(tmp_path):
    with pytest.raises(ConfigError, match=r"ends in \.png, \.pdf, \.svg"):
        require_plotting(tmp_path / "a.gif", "tasks")
