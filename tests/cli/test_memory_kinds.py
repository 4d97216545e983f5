"""`sparsemeta memory` on memories of every kind: in blocks, of rows and of tables."""

import json

import pytest
from safetensors.torch import load_file

from sparsemeta.cli import main

LAYERS = {"1.memory", "rows.memory", "tables.memory", "tables.cache"}
A, B, C = "text/held/a.txt", "text/held/b.txt", "text/0.txt"


def run(capsys, *arguments, code=0):
    assert main([*arguments]) == code
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    return shown.err if code else shown.out


@pytest.fixture
def memories(models, capsys):
    """`a` has read a text, `b` another one besides, `c` a third besides."""
    run(capsys, "read", "models/every", A, "--out", "a")
    for text, out in ((B, "b"), (C, "c")):
        run(capsys, "read", "models/every", text, "--memory", "a", "--out", out)
    return models


def layers(capsys, *arguments):
    return json.loads(run(capsys, "memory", *arguments, "--json"))


def test_it_is_shown_compared_and_merged(memories, capsys):
    (shown,) = layers(capsys, "show", "b", "--model", "models/every")
    assert shown["fits"]
    assert shown["layers"].keys() == LAYERS
    steps = {name: layer["steps"] for name, layer in shown["layers"].items()}
    assert steps.pop("tables.cache") == 354 - 2  # no state came before the first of a reading
    assert {*steps.values()} == {354}
    changes = layers(capsys, "diff", "a", "b")["layers"]
    assert changes.keys() == LAYERS
    assert all(change["norm"] > 0 for change in changes.values())
    run(capsys, "memory", "merge", "b", "c", "--base", "a", "--out", "m")
    (merged,) = layers(capsys, "show", "m")
    steps = {name: layer["steps"] for name, layer in merged["layers"].items()}
    assert steps.pop("tables.cache") == 177 + 177 + 1107 - 3
    assert {*steps.values()} == {177 + 177 + 1107}
    run(capsys, "read", "models/every", A, "--memory", "m")
    run(capsys, "generate", "models/every", "--memory", "m", "--prompt", "7 is", "--tokens", "5")


def test_it_is_erased_whole_or_in_part(memories, capsys):
    run(capsys, "memory", "reset", "b", "--out", "none")
    run(capsys, "read", "models/every", A, "--memory", "none")
    assert all(x.equal(load_file("a")[name]) for name, x in load_file("none").items())
    run(capsys, "memory", "reset", "b", "--layers", "tables.memory", "--out", "part")
    changes = layers(capsys, "diff", "b", "part")["layers"]
    assert changes["tables.memory"]["removed"] > 0
    assert not any(changes["rows.memory"].values())
    assert not any(changes["1.memory"].values())


def test_half_a_file_and_other_models_are_refused(memories, capsys):
    data = (memories / "a").read_bytes()
    for size in (7, len(data) // 2, len(data) - 1):
        (memories / "half").write_bytes(data[:size])
        message = run(capsys, "memory", "show", "half", code=2)
        assert "half: damaged or not a memory file" in message
        read = ("read", "models/every", A, "--memory", "half", "--out", "n")
        assert "half: damaged or not a memory file" in run(capsys, *read, code=2)
    message = run(capsys, "read", "models/tiny", A, "--memory", "a", "--out", "n", code=2)
    assert "belongs to another model" in message
