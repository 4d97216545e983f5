import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparsemeta.cli import main
from sparsemeta.lm import save_model
from sparsemeta.lm.text import ByteTokenizer
from tests.tiny import OUTPUT, tiny_model


@pytest.fixture
def at_home(trained, tmp_path, monkeypatch):
    """A copy of the trained project, entered."""
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    monkeypatch.chdir(folder)
    return folder


def refused(arguments, capsys):
    """The message of a command that must fail as a mistake does."""
    assert main(["evaluate", *arguments]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_end_to_end(at_home):
    command = "evaluate runs/tiny --baseline runs/plain --json out/a.json --plot out/a.png"
    done = subprocess.run(
        [sys.executable, "-m", "sparsemeta", *command.split()], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    for words in ("text/held/a.txt", "carried", "vs plain", "memory: emptied at each text"):
        assert words in done.stdout
    assert "runs/tiny reads 2 texts" in done.stderr

    data = json.loads((at_home / "out/a.json").read_text())
    assert (data["model"], data["baseline"], data["segment"]) == ("runs/tiny", ["runs/plain"], 256)
    assert data["reference"] == "plain"
    assert list(data["arms"]) == ["static", "document", "carried", "cache", "plain"]
    assert [words["by"] for words in data["words"]] == [
        "earlier occurrences in the document",
        "occurrences in training",
    ]
    for words in data["words"]:
        assert sum(words["words"]) == 96
        nats = words["nats_per_word"]["carried"]
        total = sum(n * (mean or 0) for n, mean in zip(words["words"], nats, strict=True))
        assert total == pytest.approx(data["arms"]["carried"]["total"]["nats"], rel=1e-5)
    for arm in data["arms"].values():
        assert [text["name"] for text in arm["texts"]] == ["text/held/a.txt", "text/held/b.txt"]
        total = arm["total"]
        assert (total["tokens"], total["bytes"], total["words"]) == (352, 352, 96)
        assert total["words_eos"] == 112
        assert total["nats"] == pytest.approx(sum(text["nats"] for text in arm["texts"]))
        assert total["perplexity"] == pytest.approx(math.exp(total["nats"] / 352))
        assert arm["context"].startswith("one pass, left to right")
    assert (at_home / "out/a.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in (at_home / "out").iterdir()) == ["a.json", "a.png"]


def test_health_is_reported_when_asked(at_home, capsys):
    assert main(["evaluate", "runs/tiny", "--arms", "document", "--health"]) == 0
    report = capsys.readouterr().out
    assert "blocks.1.memory: " in report
    assert "of slots addressed" in report
    assert main(["evaluate", "runs/tiny", "--arms", "document"]) == 0
    assert "of slots addressed" not in capsys.readouterr().out


def test_a_model_that_remembers_only_where_it_predicts(at_home, capsys):
    save_model(Path("models/output"), tiny_model(memory_layers=(), output=OUTPUT), ByteTokenizer())
    command = ["evaluate", "models/output", "text/held", "--json", "a.json", "--health"]
    assert main(command) == 0
    assert "of slots addressed" not in capsys.readouterr().out
    arms = json.loads((at_home / "a.json").read_text())["arms"]
    assert list(arms) == ["static", "document", "carried", "cache"]
    nats = {name: arm["total"]["nats"] for name, arm in arms.items()}
    assert len(set(nats.values())) == 4
    assert main([*command, "--arms", "carried+no-rows,carried+no-tables,carried+no-hidden"]) == 0
    arms = json.loads((at_home / "a.json").read_text())["arms"]
    assert nats["carried"] == arms["carried+no-hidden"]["total"]["nats"]
    assert "memory: never emptied; without row memory" in arms["carried+no-rows"]["context"]


def test_named_texts_arms_and_checkpoint_folder(at_home, capsys):
    model = "runs/tiny/checkpoints/step-000002"
    command = ["evaluate", model, "text/0.txt", "text/held", "--arms", "carried,static"]
    assert main([*command, "--json", "a.json", "--precision", "bf16-mixed"]) == 0
    data = json.loads((at_home / "a.json").read_text())
    assert list(data["arms"]) == ["carried", "static"]
    assert len(data["arms"]["static"]["texts"]) == 3
    assert data["reference"] == "static"
    assert data["precision"] == "bf16-mixed"
    assert main(["evaluate", model, "--arms", "static"]) == 0  # the run's recipe held out two
    assert "2 texts: 352 tokens" in capsys.readouterr().out


def test_all_arms_tuned(at_home, capsys, monkeypatch):
    from sparsemeta.lm.evaluation import Dynamic

    monkeypatch.setattr(Dynamic, "axes", Dynamic.axes | {"rate": (1e-5, 1e-4)})
    command = ["evaluate", "runs/tiny", "--arms", "all", "--tune", "--validation", "text/0.txt"]
    options = ["--tune-tokens", "100", "--dynamic.samples", "2", "--cache.size", "50"]
    assert main([*command, *options, "--json", "a.json"]) == 0
    printed = capsys.readouterr()
    assert "cache tuned, memory carried: nats per token of validation" in printed.out
    assert "dynamic tuned, memory static: nats per token of validation" in printed.out
    assert "tuning carried+dynamic: 6/6, rate 0.0001, decay 0.02" in printed.err
    data = json.loads((at_home / "a.json").read_text())
    assert list(data["arms"]) == [
        *("static", "document", "carried", "cache", "dynamic", "cache+dynamic"),
        *("carried+cache", "carried+dynamic", "carried+cache+dynamic"),
    ]
    assert len(data["tuned"]) == 4
    for tuned in data["tuned"]:
        part, prefix = tuned["part"], "" if tuned["memory"] == "static" else "carried+"
        assert data["arms"][prefix + part]["settings"][part] == tuned["chosen"]
        assert data["arms"][prefix + "cache+dynamic"]["settings"][part] == tuned["chosen"]
    assert all(arm["total"]["tokens"] == 352 for arm in data["arms"].values())


def test_tuning_never_touches_the_text_to_be_scored(at_home, capsys):
    message = refused(["runs/tiny", "--tune"], capsys)
    assert "names no corpus.validation. Name some: --validation TEXT..." in message


def test_dynamic_arms_need_training_text(at_home, capsys):
    (at_home / "runs/tiny/recipe.toml").unlink()
    command = ["runs/tiny", "text/held/a.txt", "--arms", "dynamic"]
    message = refused(command, capsys)
    assert "has no recipe.toml that names it. Name some: --training-text TEXT..." in message
    assert main(["evaluate", *command, "--training-text", "text/0.txt"]) == 0
    assert "weights: updated every 64 tokens" in capsys.readouterr().out


def test_several_baselines(at_home, capsys):
    shutil.copytree(at_home / "runs/tiny", at_home / "copies/tiny")
    shutil.copytree(at_home / "runs/plain", at_home / "copies/static")
    command = ["evaluate", "runs/tiny", "--arms", "static", "--json", "a.json", "--baseline"]
    assert main([*command, "copies/tiny", "runs/plain", "copies/static", "runs/tiny"]) == 0
    data = json.loads((at_home / "a.json").read_text())
    arms = {label: arm["arm"] for label, arm in data["arms"].items()}
    assert arms == {
        "static": "static",
        "tiny": "carried",
        "plain": "static",
        "baseline copies/static": "static",
        "baseline runs/tiny": "carried",
    }
    assert data["reference"] == "plain"


def test_a_static_model_has_no_memory_arms(at_home, capsys):
    assert main(["evaluate", "runs/plain"]) == 0
    assert "memory: none" in capsys.readouterr().out
    message = refused(["runs/plain", "--arms", "document"], capsys)
    assert "'document' needs a memory" in message
    assert "model.memory_layers" in message
    assert "needs a memory" in refused(["runs/plain", "--health"], capsys)


def test_a_training_text_that_is_gone_costs_no_more_than_its_panel(at_home, capsys):
    (at_home / "text").rename(at_home / "moved")
    command = ["evaluate", "runs/tiny", "moved/held", "--arms", "static", "--json", "a.json"]
    assert main(command) == 0
    assert "no loss by training frequency: text: cannot be read" in capsys.readouterr().err
    words = json.loads((at_home / "a.json").read_text())["words"]
    assert [gain["by"] for gain in words] == ["earlier occurrences in the document"]


def test_bad_arms_and_settings(at_home, capsys):
    message = refused(["runs/tiny", "--arms", "static,carry"], capsys)
    assert "unknown arm 'carry'. The arms are static, document, carried, cache, dynamic" in message
    with pytest.raises(SystemExit, match="2"):
        main(["evaluate", "runs/tiny", "--arms", "cache", "--cache.weight", "1"])
    assert "cache.weight = 1.0 must lie in [0, 1)" in capsys.readouterr().err


def test_a_model_of_transformers(at_home, capsys):
    pytest.importorskip("transformers")
    from sparsemeta.lm.hf import export

    export(Path("runs/tiny"), Path("theirs"))
    assert main(["evaluate", "theirs", "text/held", "--arms", "static,carried"]) == 0
    theirs = capsys.readouterr().out
    assert main(["evaluate", "runs/tiny", "--arms", "static,carried"]) == 0
    ours = capsys.readouterr().out
    assert [line.split()[:5] for line in theirs.splitlines()] == [
        line.split()[:5] for line in ours.splitlines()
    ]
    message = refused(["theirs"], capsys)
    assert "theirs: has no recipe.toml, so there is nothing to read" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b" \n", "is empty. Give a file with text"),
        (b"PK\0\x01", "is binary (NUL at byte 2). Leave it out or convert it"),
        (b"caf\xe9\n", "is not UTF-8 at byte 3, line 1. Convert it"),
        (None, "cannot be read (No such file or directory). Check the path"),
    ],
)
def test_bad_text(at_home, capsys, content, words):
    if content is not None:
        (at_home / "bad.txt").write_bytes(content)
    message = refused(["runs/tiny", "bad.txt", "--json", "a.json"], capsys)
    assert f"bad.txt: {words}" in message
    assert not (at_home / "a.json").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
def test_checkpoint_cut_in_half(at_home, capsys, name):
    path = at_home / "runs/tiny/checkpoints/step-000004" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    message = refused(["runs/tiny"], capsys)
    assert f"runs/tiny/checkpoints/step-000004/{name}" in message
    assert any(remedy in message for remedy in ("Delete", "Restore"))


def test_no_model(at_home, capsys):
    assert "runs/none: is not a folder" in refused(["runs/none"], capsys)
    assert "text: holds no model" in refused(["text"], capsys)


def test_nothing_held_out(at_home, capsys):
    recipe = at_home / "runs/tiny/recipe.toml"
    recipe.write_text("")
    assert "held no document out of training" in refused(["runs/tiny"], capsys)
    recipe.unlink()
    message = refused(["runs/tiny"], capsys)
    assert "runs/tiny: has no recipe.toml" in message
    assert "sparsemeta evaluate MODEL TEXT..." in message


def test_baseline_with_other_tokens(at_home, capsys):
    command = ["train", "tiny.toml", "--name", "pairs", "--training.steps", "1"]
    assert main([*command, "--tokenizer.kind", "bpe", "--tokenizer.vocabulary", "300"]) == 0
    message = refused(["runs/tiny", "--baseline", "runs/pairs"], capsys)
    assert "pairs reads these texts in other tokens than runs/tiny" in message


def test_outputs_are_checked_before_reading(at_home, capsys):
    assert "a.txt: a plot's name ends in" in refused(["runs/tiny", "--plot", "a.txt"], capsys)
    assert "runs: is a folder" in refused(["runs/tiny", "--json", "runs"], capsys)
    message = refused(["runs/tiny", "--json", "tiny.toml/a.json"], capsys)
    assert "tiny.toml/a.json: cannot be written" in message
    assert "reads" not in message
