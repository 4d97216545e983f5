import json
import math
import shutil
import subprocess
import sys

import pytest

from sparsemeta.cli import main


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
    for words in ("text/held/a.txt", "carried", "vs baseline", "memory: emptied at each text"):
        assert words in done.stdout
    assert "runs/tiny reads 2 texts" in done.stderr

    data = json.loads((at_home / "out/a.json").read_text())
    assert (data["model"], data["baseline"], data["segment"]) == ("runs/tiny", "runs/plain", 256)
    assert data["reference"] == "baseline"
    assert list(data["arms"]) == ["static", "document", "carried", "baseline"]
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


def test_a_static_model_has_one_arm(at_home, capsys):
    assert main(["evaluate", "runs/plain"]) == 0
    assert "memory: none" in capsys.readouterr().out
    message = refused(["runs/plain", "--arms", "document"], capsys)
    assert "'document' needs a memory" in message
    assert "model.memory_layers" in message


def test_unknown_arm(at_home, capsys):
    message = refused(["runs/tiny", "--arms", "static,carry"], capsys)
    assert "unknown arm 'carry'. The arms are static, document, carried." in message


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
    assert "runs/pairs reads these texts in other tokens than runs/tiny" in message


def test_outputs_are_checked_before_reading(at_home, capsys):
    assert "a.txt: a plot's name ends in" in refused(["runs/tiny", "--plot", "a.txt"], capsys)
    assert "runs: is a folder" in refused(["runs/tiny", "--json", "runs"], capsys)
    message = refused(["runs/tiny", "--json", "tiny.toml/a.json"], capsys)
    assert "tiny.toml/a.json: cannot be written" in message
    assert "reads" not in message
