import io
import subprocess
import sys

import pytest

from sparsemeta.cli import main
from sparsemeta.fast_weights import read_origin

pytestmark = pytest.mark.usefixtures("models")

PROMPT = "7 is the square"


def generate(*arguments):
    return main(["generate", *arguments, "--tokens", "20"])


def written(capsys, *arguments):
    assert generate(*arguments) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert generate(*arguments) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_it_goes_on_with_the_prompt(capsys, monkeypatch):
    text = written(capsys, "models/tiny", "--prompt", PROMPT, "--greedy")
    assert text.startswith(PROMPT)
    assert len(text) > len(PROMPT) + 1
    assert text == written(capsys, "models/tiny", "--prompt", PROMPT, "--greedy")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(PROMPT.encode())))
    assert text == written(capsys, "models/tiny", "--prompt", "-", "--greedy")
    sampled = [written(capsys, "models/tiny", "--prompt", PROMPT, "--seed", s) for s in "334"]
    assert sampled[0] == sampled[1] != sampled[2]
    assert written(capsys, "models/plain", "--prompt", PROMPT, "--top-k", "1").startswith(PROMPT)


def test_what_was_read_changes_what_is_written(models, capsys):
    arguments = ["models/tiny", "--prompt", PROMPT, "--temperature", "3", "--seed", "5"]
    assert main(["read", "models/tiny", "text", "--out", "m"]) == 0
    capsys.readouterr()
    before = (models / "m").read_bytes()
    text = written(capsys, *arguments, "--memory", "m")
    assert text != written(capsys, *arguments)
    assert (models / "m").read_bytes() == before
    assert text == written(capsys, *arguments, "--memory", "m", "--out", "n")
    read, wrote = read_origin("m"), read_origin("n")
    assert wrote.fingerprint == read.fingerprint
    assert wrote.texts == read.texts + 1
    assert wrote.bytes == read.bytes + len(
        text[:-1].encode()
    )  # the last end of line is the shell's
    assert "n: exists already" in refused(capsys, *arguments, "--memory", "m", "--out", "n")
    assert generate(*arguments, "--memory", "n", "--out", "n") == 0
    assert read_origin("n").texts == read.texts + 2


def test_text_comes_as_it_is_made(models):
    command = [sys.executable, "-m", "sparsemeta", "generate", "models/tiny", "--prompt", "e"]
    with subprocess.Popen(
        [*command, "--greedy", "--tokens", "1000000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_bad_input(models, capsys):
    assert main(["read", "models/tiny", "text/0.txt", "--out", "m"]) == 0
    capsys.readouterr()
    (models / "m").with_name("half").write_bytes((models / "m").read_bytes()[:900])
    cases = [
        (["models/other", "--memory", "m"], "belongs to another model"),
        (["models/plain", "--memory", "m"], "this model has no memory"),
        (["models/plain", "--out", "n"], "this model has no memory"),
        (["models/tiny", "--memory", "half"], "half: damaged or not a memory"),
        (["models/tiny", "--memory", "none"], "none: no such memory file"),
        (["models/none"], "models/none: is not a folder"),
        (["models/tiny", "--prompt", "a\udc80"], "lone surrogate"),
    ]
    for arguments, words in cases:
        assert words in refused(capsys, *arguments), arguments
    assert not (models / "n").exists()


@pytest.mark.parametrize(
    ("option", "words"), [("--temperature=0", "must be positive"), ("--top-p=2", "must lie in")]
)
def test_bad_settings(capsys, option, words):
    with pytest.raises(SystemExit, match="2"):
        generate("models/tiny", option)
    assert words in capsys.readouterr().err
