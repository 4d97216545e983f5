import signal
from types import SimpleNamespace

import pytest
from safetensors.torch import load_file

from sparsemeta.errors import ConfigError
from sparsemeta.lm import validation
from sparsemeta.lm.checkpoint import find_model, load_model
from sparsemeta.lm.evaluation import evaluate
from sparsemeta.lm.text.corpus import read_documents
from sparsemeta.lm.training import train
from sparsemeta.run import Interrupted, newest, step_folders
from tests.lm.runs import Signal, assert_same_run, changed, records


@pytest.fixture
def recipe(recipe, tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.txt").write_text(f"{name} is 3 and 1.\n" * 6)
    recipe = changed(recipe, "corpus", validation=(f"{tmp_path}/a.txt", f"{tmp_path}/b.txt"))
    return changed(recipe, validate_every=4)


def readings(run):
    """The validation records of a log, by step."""
    return {r["step"]: r["validation"] for r in records(run) if "validation" in r}


def pretend(monkeypatch, *bits):
    """Let the next readings measure these bits per byte."""
    left = iter(bits)

    def score(*_, **__):
        found = dict.fromkeys(validation.FIELDS, 1.0) | {"bits_per_byte": next(left)}
        return SimpleNamespace(to_dict=lambda: found)

    monkeypatch.setattr(validation, "score", score)


@pytest.mark.parametrize(
    ("arm", "layers", "output"),
    [("carried", (1,), ()), ("static", (), ()), ("carried", (), ("rows", "tables"))],
    ids=str,
)
def test_a_reading_is_what_evaluate_measures(recipe, tmp_path, arm, layers, output):
    recipe = changed(recipe, "model", memory_layers=layers, output=output)
    train(recipe, tmp_path / "run")
    assert list(readings(tmp_path / "run")) == [4, 8, 12]
    model, tokenizer = load_model(newest(tmp_path / "run/checkpoints"))
    texts = read_documents(recipe.corpus.validation, recipe.corpus)
    total = evaluate(model, tokenizer, texts, arms=[arm])[arm].total
    found = readings(tmp_path / "run")[12]
    assert found.pop("seconds") > 0
    for name, value in found.items():
        assert value == pytest.approx(getattr(total, name), rel=1e-5), name


def test_reading_does_not_disturb_training(recipe, tmp_path):
    train(recipe, tmp_path / "reads")
    train(changed(recipe, validate_every=0), tmp_path / "does not")
    for name in ("model.safetensors", "training.safetensors"):
        ends = [newest(tmp_path / run / "checkpoints") / name for run in ("reads", "does not")]
        one, other = (load_file(path) for path in ends)
        assert all(one[key].equal(other[key]) for key in one.keys() | other.keys())


def test_stopped_and_resumed_reads_the_same(recipe, tmp_path):
    train(recipe, tmp_path / "whole")
    for step in (4, 6):  # right after a reading, and between two
        with pytest.raises(Interrupted):
            train(recipe, tmp_path / "parts", progress=Signal(step, signal.SIGINT))
    train(recipe, tmp_path / "parts")
    assert list(readings(tmp_path / "parts")) == [4, 8, 12]
    assert_same_run(tmp_path / "parts", tmp_path / "whole")
    assert find_model(tmp_path / "parts").name == find_model(tmp_path / "whole").name


def test_the_best_checkpoint_is_kept_and_found(recipe, tmp_path, monkeypatch):
    pretend(monkeypatch, 3.0, 2.0, 2.5, 2.0, 2.1)
    recipe = changed(recipe, steps=20, checkpoint_every=3)
    assert train(recipe, tmp_path).name == "step-000008"
    names = [path.name for path in step_folders(tmp_path / "checkpoints")]
    assert names == ["step-000008", "step-000018", "step-000020"]
    assert find_model(tmp_path).name == "step-000008"
    assert find_model(tmp_path / "checkpoints/step-000018").name == "step-000018"
    (tmp_path / "checkpoints/step-000008").rename(tmp_path / "gone")
    assert find_model(tmp_path).name == "step-000020"


def test_it_stops_early_and_goes_on_with_more_patience(recipe, tmp_path, monkeypatch):
    recipe = changed(recipe, steps=40, patience=2)
    pretend(monkeypatch, 2.0, 1.5, 1.5, 1.6)
    assert train(recipe, tmp_path).name == "step-000008"
    assert records(tmp_path)[-1]["step"] == 16
    assert train(recipe, tmp_path).name == "step-000008"  # done: reads nothing more
    pretend(monkeypatch, 1.4, 1.5, 1.5, 1.5)
    assert train(changed(recipe, patience=3), tmp_path).name == "step-000020"
    assert records(tmp_path)[-1]["step"] == 32


def test_validation_needs_text_and_patience_needs_validation(recipe, tmp_path):
    with pytest.raises(ConfigError, match=r"corpus\.validation names no text"):
        train(changed(recipe, "corpus", validation=()), tmp_path / "run")
    with pytest.raises(ConfigError, match="validate_every = 0 never reads it"):
        train(changed(recipe, validate_every=0, patience=1), tmp_path / "run")
    assert not (tmp_path / "run").exists()
