"""What was learned where tokens are predicted, in words, and the plot of a gate."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from sparsemeta.cli import main
from tests.cli.conftest import write_project

A, B = "text/held/a.txt", "text/held/b.txt"
OPENING = "\0"
"""What the separator ends with, to contexts of bytes."""


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A project with the runs `output`, of both kinds, `other` and `plain`, and a memory `a`."""
    folder, before = tmp_path_factory.mktemp("learned"), Path.cwd()
    write_project(folder)
    os.chdir(folder)
    try:
        train = ["train", "tiny.toml", "--training.learning-rate", "0.01"]
        both = ["--model.output", "rows", "tables"]
        assert main([*train, "--name", "output", *both]) == 0
        assert main([*train, "--name", "other", *both, "--training.seed", "1"]) == 0
        assert main([*train, "--name", "plain"]) == 0
        assert main(["read", "runs/output", A, "--out", "a"]) == 0
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(learned, tmp_path, monkeypatch):
    """A copy of it, entered."""
    folder = tmp_path / "copy"
    shutil.copytree(learned, folder)
    monkeypatch.chdir(folder)
    return folder


def printed(capsys, *arguments):
    capsys.readouterr()
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def shown(capsys, *files, model="output"):
    named = ["--model", f"runs/{model}"] if model else []
    return json.loads(printed(capsys, "memory", "show", *files, "--json", *named))


def refused(capsys, *arguments):
    capsys.readouterr()
    assert main([*arguments]) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def claims(tables):
    """Every claim that such a token follows such a context."""
    return [
        (head["context"], claim.get("context", ""), claim["text"])
        for head in tables["heads"]
        for claim in head["surest"]
    ]


def test_words(project, capsys):
    lines = printed(capsys, "memory", "show", "a", "--model", "runs/output").splitlines()
    (rows,) = (line for line in lines if line.startswith("row memory: "))
    assert "rows of 16 tokens" in rows
    assert any(re.match(r"  half-life \d\d tokens: more than half of ", line) for line in lines)
    assert any("  never forgets: more than half of " in line for line in lines)
    assert any("table memory: the gate now gives about " in line for line in lines)
    assert any("  last 2 tokens: " in line for line in lines)
    assert any(re.match(r'    "\w\w" -> "."  100% of \d', line) for line in lines)
    assert not any("(not kept)" in line for line in lines)


def test_what_is_claimed_is_in_the_text(project, capsys):
    (about,) = shown(capsys, "a")
    rows, tables = about["learned"]["rows"], about["learned"]["tables"]
    text = OPENING + (project / A).read_text()
    assert rows["tokens"] == len(set(text)) - 1  # what opens the text followed nothing
    for head in rows["heads"]:
        norms = [row["norm"] for row in head["most"]]
        assert norms == sorted(norms, reverse=True)
        assert 0 < norms[-1] <= norms[0] <= 1.0001
        assert all(row["text"] == chr(row["token"]) for row in head["most"])
        assert 0 < head["much"] <= rows["tokens"]
    short, long, unlimited = (head["half_life"] for head in rows["heads"])
    assert (short, long, unlimited) == (pytest.approx(70, 0.1), pytest.approx(700, 0.1), None)

    names = {head for head, _, _ in claims(tables)}
    for head, context, token in claims(tables):
        assert context + token in text, head
    longest = {head: max(len(c) for h, c, _ in claims(tables) if h == head) for head in names}
    assert longest["no context"] == 0
    assert longest["last token"] == longest["last byte"] == 1
    assert longest["last 3 bytes"] == longest["last 3 tokens, keep 0.8"] == 3
    assert longest["last 16 tokens"] == 16
    total = tables["model"] + sum(head["weight"] for head in tables["heads"])
    assert total == pytest.approx(1)
    for head in tables["heads"]:
        assert 0 <= head["known"] <= 1
        assert all(0 < claim["share"] <= 1 < 1 + claim["of"] for claim in head["surest"])


def test_words_need_the_model_that_made_the_memory(project, capsys):
    assert shown(capsys, "a", model=None)[0]["learned"] == {}
    (about,) = shown(capsys, "a", model="other")
    assert (about["fits"], about["learned"]) == (False, {})
    assert "table memory" not in printed(capsys, "memory", "show", "a", "--model", "runs/other")
    assert main(["read", "runs/plain", A, "--out", "p"]) == 0
    (about,) = shown(capsys, "p", model="plain")
    assert (about["fits"], about["learned"]) == (True, {})
    assert "runs/none: is not a folder" in refused(
        capsys, "memory", "show", "a", "--model", "runs/none"
    )


def test_an_empty_memory_has_learned_nothing(project, capsys):
    assert main(["memory", "reset", "a", "--out", "none"]) == 0
    text = printed(capsys, "memory", "show", "none", "--model", "runs/output")
    assert "row memory: rows of 0 tokens" in text
    assert "about 100% of a prediction to the model" in text
    assert "never known so far: no context, " in text
    (about,) = shown(capsys, "none")
    assert claims(about["learned"]["tables"]) == []


def test_a_merged_memory_claims_nothing_untrue(project, capsys):
    assert main(["read", "runs/output", B, "--out", "b"]) == 0
    assert main(["memory", "merge", "a", "b", "--out", "m"]) == 0
    (about,) = shown(capsys, "m")
    texts = [OPENING + (project / name).read_text() for name in (A, B)]
    spelt = [claim for claim in claims(about["learned"]["tables"]) if claim[1] is not None]
    assert len(spelt) > 10
    for head, context, token in spelt:
        assert any(context + token in text for text in texts), head


def test_gate(project, capsys):
    gate = ["--gate", "out/g.png", "--json", "g.json"]
    arms = "static,carried,carried+no-tables"
    text = printed(capsys, "evaluate", "runs/output", "--arms", arms, *gate)
    assert "gate: " in text
    assert (project / "out/g.png").read_bytes().startswith(b"\x89PNG")
    data = json.loads((project / "g.json").read_text())
    found, tokens = data["gate"], 352
    assert sum(found["weights"].values()) == pytest.approx(1, abs=1e-5)
    assert list(found["weights"])[:2] == ["model", "no context"]
    assert 0 < found["weights"]["model"] < 1
    for name, arm in (("nats", "carried"), ("nats_alone", "carried+no-tables")):
        assert found[name] == pytest.approx(data["arms"][arm]["total"]["nats"] / tokens, rel=1e-5)
    assert found["nats"] < found["nats_alone"]


def test_gate_of_a_short_text(project, capsys):
    (project / "short.txt").write_text("ab")
    command = ["evaluate", "runs/output", "short.txt", "--arms", "static", "--gate", "g.svg"]
    assert "% of predictions is the model" in printed(capsys, *command)
    assert "svg" in (project / "g.svg").read_text()


def test_gate_needs_tables_and_a_place_for_the_plot(project, capsys):
    message = refused(capsys, "evaluate", "runs/plain", A, "--gate", "g.png")
    assert "this model has no table memory, and so no gate to look at" in message
    assert 'model.output = ["tables"]' in message
    message = refused(capsys, "evaluate", "runs/output", A, "--gate", "g.txt")
    assert "g.txt: a plot's name ends in" in message
    assert "reads" not in message
    assert not (project / "g.png").exists()
