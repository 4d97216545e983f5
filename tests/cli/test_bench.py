import json

import pytest

from sparsemeta.cli import main
from sparsemeta.streams.bench import BENCHMARKS, MODELS, suite
from tests.streams.bench.small import small


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, entered, where `bench rebinding` takes a second."""
    monkeypatch.setattr(suite, "rebinding", small)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_end_to_end(here, capsys):
    options = ["--seeds", "2", "--models", "sparse", "sign", "--json", "out/a.json"]
    assert main(["bench", "rebinding", *options, "--plot", "out/a.png"]) == 0
    printed = capsys.readouterr()
    for words in ("M = 4", "last-label", "±", "us/step", "sparse less sign, the best dense"):
        assert words in printed.out
    assert "rebinding, seed 1: sign is measured" in printed.err
    data = json.loads((here / "out/a.json").read_text())
    assert (data["task"], data["headline"], data["streams"]) == ("rebinding", "M = 8", 4)
    names = ["sparse", "sign", "prototypes", "lda", "sgd", "last-label"]
    assert [list(seed) for seed in data["seeds"]] == [names, names]
    assert (here / "out/a.png").read_bytes().startswith(b"\x89PNG")
    assert (here / "runs/bench/rebinding/sparse-0").is_dir()

    assert main(["bench", "rebinding", *options]) == 0
    assert "trained" not in capsys.readouterr().err  # it was all there
    assert json.loads((here / "out/a.json").read_text()) == data


def test_quick_and_smaller(here, capsys):
    options = ["--quick", "--batches", "4", "--streams", "8", "--run", "elsewhere"]
    assert main(["bench", "rebinding", *options]) == 0
    assert "step 1/1 " in capsys.readouterr().err  # a quarter of the batches
    assert (here / "elsewhere/rebinding/sparse-0").is_dir()
    assert main(["bench", "rebinding", *options[1:], "--seeds", "1", "--models", "sparse"]) == 0
    assert "step 4/4 " in capsys.readouterr().err  # in the same folder


def test_help_names_every_benchmark_and_every_model(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["bench", "--help"])
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, entry in BENCHMARKS.items():
        assert f"{name}: {entry.about}" in said
        assert entry.data in said
    for name, what in MODELS.items():
        assert f"{name}, {what}" in said


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["omniglot"], "bench omniglot needs --data: the folder of images_background"),
        (["omniglot", "--data", "nowhere"], "nowhere: holds neither images_background.npz nor"),
        (["rebinding", "--models", "dense"], "bench rebinding has no dense, only sparse, linear"),
        (["rebinding", "--seeds", "0"], "seeds = 0 must be at least 1"),
        (["chess"], "there is no bench 'chess', only rebinding, omniglot, sine, digits"),
        (["rebinding", "--batches", "0"], "training.steps"),
        (["rebinding", "--streams", "0"], "bench.streams = 0 must be at least 1"),
        (["rebinding", "--plot", "a.gif"], "a.gif: a plot's name ends in .png"),
        (["rebinding", "--json", "."], "is a folder. Name a file in it"),
    ],
)
def test_bad_input(here, capsys, options, words):
    assert main(["bench", *options]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message
