import json
import sys

import pytest

from sparsemeta import lm
from sparsemeta.cli import main
from sparsemeta.config import read_toml
from sparsemeta.errors import ConfigError
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.config import Recipe
from sparsemeta.run import Interrupted, step_folders


def refused(arguments, capsys):
    """The message of a command that must fail as a mistake does."""
    assert main(arguments) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_run_folder(trained):
    run = trained / "runs" / "tiny"
    assert [p.name for p in step_folders(run / "checkpoints")] == ["step-000002", "step-000004"]
    assert read_toml(run / "recipe.toml", Recipe) == read_toml(trained / "tiny.toml", Recipe)
    assert len((run / "log.jsonl").read_text().splitlines()) == 4
    assert load_model(run)[0].config.memory_layers == (1,)
    assert load_model(trained / "runs" / "plain")[0].config.memory_layers == ()


def test_overrides_run_and_restart(project, capsys):
    command = ["train", "tiny.toml", "--run", "elsewhere", "--training.steps"]
    assert main([*command, "1"]) == 0
    assert capsys.readouterr().out.splitlines() == ["elsewhere/checkpoints/step-000001"]
    assert main([*command, "2"]) == 0  # goes on
    log = (project / "elsewhere/log.jsonl").read_text()
    assert [json.loads(line)["step"] for line in log.splitlines()] == [1, 2]
    assert read_toml("elsewhere/recipe.toml", Recipe).training.steps == 2
    assert "--restart" in refused([*command, "1"], capsys)
    assert main([*command, "1", "--restart"]) == 0
    assert [p.name for p in step_folders(project / "elsewhere/checkpoints")] == ["step-000001"]


def test_a_recipe_may_ask_for_even_use_of_the_slots(project):
    recipe = (project / "tiny.toml").read_text().replace("steps = 4", "steps = 1")
    norms = []
    for weight in (0, 0.5):
        (project / "tiny.toml").write_text(f"{recipe}usage_weight = {weight}\n")
        assert main(["train", "tiny.toml", "--restart"]) == 0
        (line,) = (project / "runs/tiny/log.jsonl").read_text().splitlines()
        norms.append(json.loads(line)["grad_norm"])
    assert norms[1] > norms[0] * 1.000001


def test_help_explains_every_setting_of_the_recipe(project, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "tiny.toml", "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    for words in ("--training.learning-rate", "Slots per head", "(default: tiny)", "--restart"):
        assert words in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("stpes = 3", "tiny.toml: unknown key training.stpes; did you mean training.steps?"),
        ("steps = 'x'", "tiny.toml: training.steps = 'x' should be int"),
        ("usage_weight = -1", "tiny.toml: training.usage_weight = -1.0 must not be negative"),
        ("steps = ", "tiny.toml: not valid TOML"),
    ],
)
def test_bad_recipe(project, capsys, content, words):
    (project / "tiny.toml").write_text(f"[training]\n{content}\n")
    assert words in refused(["train", "tiny.toml"], capsys)
    assert not (project / "runs").exists()


def test_missing_recipe(project, capsys):
    assert "none.toml: cannot be read" in refused(["train", "none.toml"], capsys)
    assert "sparsemeta train RECIPE.toml" in refused(["train"], capsys)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty. Give a file with text"),
        (b"\x7fELF\0\0", "is binary (NUL at byte 4). Leave it out or convert it"),
        (b"good\nb\xe4d\n", "is not UTF-8 at byte 6, line 2. Convert it"),
        (None, "cannot be read (No such file or directory). Check the path"),
    ],
)
def test_bad_text(project, capsys, content, words):
    if content is not None:
        (project / "bad.txt").write_bytes(content)
    command = ["train", "tiny.toml", "--corpus.train", "bad.txt", "--corpus.holdout"]
    message = refused(command, capsys)
    assert words in message
    assert "bad.txt" in message
    assert not (project / "runs").exists()


def test_too_little_text(project, capsys):
    (project / "short.txt").write_text("too short")
    command = ["train", "tiny.toml", "--corpus.train", "short.txt", "--corpus.holdout"]
    assert "Add text, or lower training.streams" in refused(command, capsys)
    assert [path.name for path in (project / "runs/tiny").glob("[!.]*")] == ["corpus"]


def test_holdout_that_matches_nothing(project, capsys):
    message = refused(["train", "tiny.toml", "--corpus.holdout", "hled/*"], capsys)
    assert "'hled/*' matches none of the 5 documents" in message


@pytest.mark.parametrize(
    "options", [["--model.width", "33"], ["--training.steps", "x"], ["--training.stpes", "3"]]
)
def test_bad_override(project, capsys, options):
    with pytest.raises(SystemExit) as stop:
        main(["train", "tiny.toml", *options])
    assert stop.value.code == 2
    assert options[0].removeprefix("--") in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "words"), [(Interrupted("saved in x"), "saved in x"), (KeyboardInterrupt(), "Stop")]
)
def test_interrupted(project, capsys, monkeypatch, raised, words):
    def interrupt(*_, **__):
        raise raised

    monkeypatch.setattr(lm, "train", interrupt)
    assert main(["train", "tiny.toml"]) == 130
    assert words in capsys.readouterr().err


def test_only_the_main_process_speaks(project, capsys, monkeypatch):
    def fail(*_, **__):
        raise ConfigError("said by all")

    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(lm, "train", fail)
    assert main(["train", "tiny.toml"]) == 0
    monkeypatch.setattr(lm, "train", lambda *_, **__: "folder")
    assert main(["train", "tiny.toml"]) == 0
    assert capsys.readouterr() == ("", "")


def test_front_door(capsys, monkeypatch):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "train" in text
    assert "evaluate" in text
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "sparsemeta 0.1.0\n"
    assert "unknown command 'trian'" in refused(["trian"], capsys)
    monkeypatch.setattr(sys, "argv", ["sparsemeta"])
    assert main() == 0
    assert capsys.readouterr().out == text
