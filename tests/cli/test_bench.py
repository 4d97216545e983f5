import json
import typing

import pytest

from sparsemeta.cli import main
from sparsemeta.cli.commands import bench as command
from sparsemeta.streams.bench import suite
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
    assert "step 1 " in capsys.readouterr().err  # a quarter of the batches
    assert (here / "elsewhere/rebinding/sparse-0").is_dir()
    assert main(["bench", "rebinding", *options[1:], "--seeds", "1", "--models", "sparse"]) == 0
    assert "step 4 " in capsys.readouterr().err  # in the same folder


def test_every_task_has_a_benchmark():
    hints = typing.get_type_hints(command.Bench, include_extras=False)
    tasks = typing.get_args(hints["task"])
    assert set(tasks) == {"rebinding", "sine", "digits", "omniglot"}
    assert all(hasattr(suite, task) for task in tasks if task != "omniglot")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["omniglot"], "bench omniglot needs drawings. Name their folder: --data FOLDER"),
        (["omniglot", "--data", "nowhere"], "nowhere: holds neither images_background.npz nor"),
        (["rebinding", "--models", "dense"], "bench rebinding has no dense, only sparse, linear"),
        (["rebinding", "--seeds", "0"], "--seeds 0 must be at least 1"),
        (["rebinding", "--plot", "a.gif"], "a.gif: a plot's name ends in .png"),
        (["rebinding", "--json", "."], "is a folder. Name a file in it"),
    ],
)
def test_bad_input(here, capsys, options, words):
    assert main(["bench", *options]) == 2
    message = capsys.readouterr().err
    assert words in message
    assert "Traceback" not in message


def test_an_unknown_task(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["bench", "chess"])
    assert "rebinding" in capsys.readouterr().err
