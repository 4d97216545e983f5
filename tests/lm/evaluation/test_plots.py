import numpy as np
import pytest

from sparsemeta.errors import ConfigError, MissingExtra
from sparsemeta.lm.evaluation import breakdown
from sparsemeta.lm.evaluation.breakdown import Gain, loss_curve
from sparsemeta.lm.scores import Reading, Score
from sparsemeta.plotting import FORMATS, require_plotting


def score(nats):
    return Score("x", np.array(nats, np.float32), 1, 1, 1, 1.0, 0)


READINGS = {
    label: Reading(arm, "", (score([3.0] * 40 + [1.0] * 100),))
    for label, arm in (("static", "static"), ("carried", "carried"), ("dense", "carried"))
}
GAIN = Gain(
    "earlier occurrences",
    ("0", "1", "2-3"),
    np.array([4, 0, 9]),
    {label: np.array([3.0, np.nan, 1.0]) for label in READINGS},
)


def plot(readings, found, path):
    breakdown.plot(readings, "static", found, path)


def test_curve_averages_all_texts_by_position():
    texts = [score([1, 2, 3, 4, 5]), score([3, 4]), score([])]
    position, nats = loss_curve(texts, first=2, ratio=2)
    assert position.tolist() == [1.5, 3.5, 5]  # bins end at 2, 4, 8
    assert nats.tolist() == [2.5, 3.5, 5]


def test_every_token_is_in_one_bin():
    texts = [score(np.ones(n)) for n in (1, 31, 32, 33, 1000, 4096)]
    position, nats = loss_curve(texts)
    assert (nats == 1).all()
    assert (np.diff(position) > 0).all()
    assert position[0] < 32
    assert position[-1] <= 4096


@pytest.mark.parametrize("suffix", FORMATS)
def test_plot_is_written(tmp_path, suffix):
    path = tmp_path / f"loss{suffix}"
    plot(READINGS, [GAIN], path)
    assert path.stat().st_size > 1000
    if suffix == ".svg":
        assert path.read_text().count("</svg>") == 1


def test_a_panel_for_each_gain_if_there_is_anything_to_compare(tmp_path):
    def panels(readings, found):
        plot(readings, found, tmp_path / "a.svg")
        return (tmp_path / "a.svg").read_text().count('<g id="axes_')

    assert panels(READINGS, []) == 1
    assert panels(READINGS, [GAIN, GAIN]) == 3
    assert panels({"static": READINGS["static"]}, [GAIN]) == 1


def test_wrong_name(tmp_path):
    with pytest.raises(ConfigError, match=r"loss\.txt: a plot's name ends in \.png, \.pdf, \.svg"):
        require_plotting(tmp_path / "loss.txt", "lm")


def test_without_matplotlib(tmp_path, monkeypatch):
    monkeypatch.setattr("sparsemeta.errors.installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"matplotlib.*pip install 'sparsemeta\[lm\]'"):
        plot(READINGS, [], tmp_path / "loss.png")
