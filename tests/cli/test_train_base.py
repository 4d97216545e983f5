"""Memories trained on a base that stays as it is: `training.base` and `training.frozen`."""

import json
import shutil
import signal
import sys

import pytest
import torch
from safetensors.torch import load_file

from sparsemeta.cli import main
from sparsemeta.config import read_toml
from sparsemeta.lm import train
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.config import Recipe
from sparsemeta.run import Interrupted, newest
from tests.lm.runs import Signal, assert_same_run

OPTIONS = ["--name", "grown", "--model.memory-layers", "--model.output", "rows", "tables"]
OPTIONS += ["--model.tables.orders", "0", "1", "2", "--training.base", "runs/plain"]
NEW = ("rows.", "tables.")


@pytest.fixture
def at_home(trained, tmp_path, monkeypatch):
    """A copy of the trained project, entered."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


def weights(run):
    return load_file(newest(run / "checkpoints") / "model.safetensors")


def grow(*options):
    return main(["train", "tiny.toml", *OPTIONS, *options])


def test_only_the_new_memories_are_trained(at_home, capsys):
    """From the base's own weights and tokenizer, whatever the recipe says of the latter."""
    words = ["--tokenizer.kind", "words", "--training.steps"]
    assert grow("--training.frozen", *words, "6") == 0
    base, grown = weights(at_home / "runs/plain"), weights(at_home / "runs/grown")
    assert base.keys() == {name for name in grown if not name.startswith(NEW)}
    assert all(torch.equal(grown[name], tensor) for name, tensor in base.items())
    model, tokenizer = load_model(at_home / "runs/grown")
    assert tokenizer.fingerprint() == load_model(at_home / "runs/plain")[1].fingerprint()
    assert model.rows.query.weight.any()
    assert (model.tables.start != -2).any()
    assert (model.tables.spelling[:256, -1] == torch.arange(256)).all()
    capsys.readouterr()
    assert main(["evaluate", "runs/grown", "--baseline", "runs/plain", "--json", "a.json"]) == 0
    totals = {
        k: arm["total"] for k, arm in json.loads((at_home / "a.json").read_text())["arms"].items()
    }
    assert totals["static"]["nats"] == totals["plain"]["nats"]
    assert totals["carried"]["nats"] < totals["document"]["nats"] < totals["static"]["nats"]


def test_a_base_may_be_trained_on(at_home):
    assert grow("--training.steps", "1") == 0
    base, grown = weights(at_home / "runs/plain"), weights(at_home / "runs/grown")
    one, other = (found["embedding.weight"] for found in (base, grown))
    assert not torch.equal(one, other)
    torch.testing.assert_close(one, other, atol=0.01, rtol=0)


def test_it_is_stopped_and_resumed_exactly(at_home):
    assert grow("--training.frozen", "--run", "whole") == 0
    recipe = read_toml(at_home / "whole/recipe.toml", Recipe)
    with pytest.raises(Interrupted):
        train(recipe, at_home / "parts", progress=Signal(3, signal.SIGINT))
    train(recipe, at_home / "parts")
    assert_same_run(at_home / "parts", at_home / "whole")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--training.base", "runs/tiny"], "no model of this recipe: blocks.1.memory"),
        (["--model.width", "16"], "no model of this recipe: embedding.weight"),
        (["--training.base", "runs/none"], "runs/none: is not a folder"),
        (["--training.base", "", "--training.frozen"], "training.frozen = true keeps"),
    ],
)
def test_other_bases_are_refused(at_home, capsys, options, words):
    with pytest.raises(SystemExit, match="2"):
        sys.exit(grow(*options))  # where settings do not go together, it has exited itself
    message = capsys.readouterr().err
    assert "Traceback" not in message
    assert words in message
    assert not list((at_home / "runs").glob("grown/checkpoints/*"))
    assert (at_home / "runs/grown").exists() == ("runs/none" not in options and "" not in options)
