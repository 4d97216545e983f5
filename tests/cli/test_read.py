import io
import json
import random
import resource
import signal
import string
import subprocess
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sparsemeta.cli import main
from sparsemeta.cli.support.deliver import claim
from sparsemeta.fast_weights import FastWeights, Origin, read_origin
from sparsemeta.lm import LanguageModel, memories

pytestmark = pytest.mark.usefixtures("models")

A, B = "text/0.txt", "text/1.txt"


def read(*arguments):
    return main(["read", *map(str, arguments)])


def refused(capsys, *arguments, code=2):
    assert read(*arguments) == code
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def same(one, other):
    """Whether two memory files hold the same, bit for bit."""
    first, second = load_file(one), load_file(other)
    with safe_open(one, "pt") as a, safe_open(other, "pt") as b:
        same_header = a.metadata() == b.metadata()
    return (
        same_header
        and first.keys() == second.keys()
        and all(torch.equal(first[key], second[key]) for key in first)
    )


@pytest.mark.parametrize("model", ["models/tiny", "models/growing", "models/every"])
def test_two_texts_in_one_call_or_in_two(models, capsys, model):
    (models / "short.txt").write_text("7 times 7 is 49\n")
    assert read(model, A, "short.txt", "--out", "both") == 0
    shown = capsys.readouterr()
    assert "both: 2 texts read, 1,122 tokens" in shown.out
    assert "bits per byte" in shown.out
    assert f"{A}: 1,106 tokens" in shown.err
    assert read(model, A, "--out", "first") == 0
    assert read(model, "short.txt", "--memory", "first", "--out", "second") == 0
    assert same("both", "second")
    assert not same("first", "second")
    assert read_origin("both")[1:] == (2, 1122)


def test_a_memory_is_brought_up_to_date(models):
    assert read("models/tiny", A, B, "--out", "both") == 0
    assert read("models/tiny", A, "--out", "m") == 0
    assert read("models/tiny", B, "--memory", "m") == 0
    assert same("both", "m")


def test_what_would_be_lost(models, capsys):
    assert read("models/tiny", A, "--out", "m") == 0
    before = (models / "m").read_bytes()
    assert "m: exists already. To read on from it" in refused(
        capsys, "models/tiny", B, "--out", "m"
    )
    assert (models / "m").read_bytes() == before
    assert read("models/tiny", B, "--out", "m", "--overwrite") == 0
    assert read_origin("m").texts == 1
    assert (models / "m").read_bytes() != before


def test_standard_input_and_other_sources(models, monkeypatch):
    (models / "a.jsonl").write_text(json.dumps({"text": "one"}) + "\n" + json.dumps({"text": "2"}))
    assert read("models/tiny", "a.jsonl", "text/held/*.txt", A, "--out", "named") == 0
    data = io.BytesIO((models / A).read_bytes())
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(data))
    assert read("models/tiny", "a.jsonl", "text/held", "-", "--out", "piped") == 0
    assert same("named", "piped")
    assert read_origin("named").texts == 5


def test_ctrl_c_keeps_the_texts_read_to_their_end(models, capsys, monkeypatch):
    assert read("models/tiny", A, "--out", "one") == 0
    whole, calls = LanguageModel.read, []

    def interrupted(self, tokens, *rest, **options):
        calls.append(len(tokens))
        if len(calls) == 7:  # text A takes five segments, so this is in B
            signal.raise_signal(signal.SIGINT)
        return whole(self, tokens, *rest, **options)

    monkeypatch.setattr(LanguageModel, "read", interrupted)
    message = refused(capsys, "models/tiny", A, B, "--out", "m", code=130)
    assert f"m: 1 text read; {B} was not read to its end" in message
    assert f"Stopped in {B}" in message
    assert same("m", "one")
    calls[:] = [0] * 5
    message = refused(capsys, "models/tiny", A, "--out", "none", code=130)
    assert "nothing was saved" in message
    assert not (models / "none").exists()


def test_killed_while_reading(models):
    assert read("models/tiny", A, "--out", "m") == 0
    before = (models / "m").read_bytes()
    (models / "long.txt").write_text("a long text\n" * 200_000)
    arguments = ["read", "models/tiny", B, "long.txt", "--memory", "m"]
    never_in_between = (
        "import math, sys; from sparsemeta.cli import main; from sparsemeta.lm import memories\n"
        "memories.SAVE_EVERY = math.inf; sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", never_in_between, *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr
        # Where the machine is busy, a line of progress may come before that of the whole text.
        assert any(line.startswith(f"{B}: ") for line in process.stderr)
        process.kill()
    assert (models / "m").read_bytes() == before
    assert read("models/tiny", B, "--memory", "m") == 0  # it holds no lock any more


def test_two_processes_and_one_memory(models, capsys):
    assert read("models/tiny", A, "--out", "m") == 0
    with claim(models / "m", overwrite=True):
        message = refused(capsys, "models/tiny", B, "--memory", "m")
        assert "m: another process is about to write it. Wait" in message
        assert read("models/tiny", B, "--memory", "m", "--out", "n") == 0
    assert read_origin("m").texts == 1


def test_a_full_disk(models, capsys):
    assert read("models/tiny", A, "--out", "m") == 0
    before = (models / "m").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        message = refused(capsys, "models/tiny", B, "--memory", "m")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "m: cannot be written" in message
    assert "File too large" in message
    assert (models / "m").read_bytes() == before
    assert not list(models.glob(".m.[0-9]*"))


def test_a_full_memory_keeps_the_texts_before(models, capsys):
    (models / "many.txt").write_text("".join(random.Random(0).choices(string.printable, k=9000)))
    message = refused(capsys, "models/growing", "text/held/a.txt", "many.txt", "--out", "m")
    assert "the memory is full" in message
    assert "m: 1 text read; many.txt was not read to its end" in message
    assert read_origin("m").texts == 1


def test_a_long_reading_is_saved_now_and_then(models, monkeypatch):
    saved = []
    monkeypatch.setattr(FastWeights, "save", lambda *arguments: saved.append(arguments[2]))
    monkeypatch.setattr(memories, "SAVE_EVERY", 0.0)
    assert read("models/tiny", A, B, "--out", "m") == 0
    assert [origin.texts for origin in saved] == [1, 2]
    assert isinstance(saved[0], Origin)


def test_bad_input(models, capsys, monkeypatch):
    assert read("models/tiny", A, "--out", "m") == 0
    cases = [
        (["models/plain", A, "--out", "n"], "this model has no memory"),
        (["models/other", A, "--memory", "m", "--out", "n"], "belongs to another model"),
        (["models/tiny", A, "--memory", "none"], "none: no such memory file"),
        (["models/tiny", A, "--memory", "tiny.toml", "--out", "n"], "damaged or not a memory"),
        (["models/tiny", A], "name a file to keep the memory in"),
        (["models/tiny", "--out", "n"], "name texts to read"),
        (["models/tiny", "none.txt", "--out", "n"], "none.txt: cannot be read"),
        (["models/none", A, "--out", "n"], "models/none: is not a folder"),
        (["models/tiny", A, "--out", "text"], "text: is a folder"),
        (["models/tiny", A, "--out", "tiny.toml/n"], "cannot be written"),
        (["models/tiny", A, "--out", "n", "--segment", "0"], "segment must be at least 1"),
        (["models/tiny", "-", "--out", "n"], "standard input: is empty"),
    ]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b" \n")))
    for arguments, words in cases:
        assert words in refused(capsys, *arguments), arguments
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9")))
    message = refused(capsys, "models/tiny", "-", "--out", "n")
    assert "standard input: is not UTF-8 at byte 3" in message
    assert not (models / "n").exists()
