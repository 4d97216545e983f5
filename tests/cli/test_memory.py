import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sparsemeta.cli import main
from sparsemeta.fast_weights import FastWeights, read_origin
from sparsemeta.fast_weights.file import digest
from tests.fast_weights.tables import learn, state_of

pytestmark = pytest.mark.usefixtures("memories")


@pytest.fixture
def memories(models, capsys):
    """`a` has read a text, `b` another one besides, `c` a third besides; `x` is another model's."""
    for model, text, begin, out in (
        ("tiny", "text/held/a.txt", (), "a"),
        ("tiny", "text/held/b.txt", ("--memory", "a"), "b"),
        ("tiny", "text/0.txt", ("--memory", "a"), "c"),
        ("other", "text/held/a.txt", (), "x"),
    ):
        assert main(["read", f"models/{model}", text, *begin, "--out", out]) == 0
    capsys.readouterr()
    return models


def memory(*arguments):
    return main(["memory", *arguments])


def printed(capsys, *arguments):
    assert memory(*arguments) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    assert memory(*arguments) == 2
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


def test_show(capsys):
    text = printed(capsys, "show", "a", "x", "--model", "models/tiny")
    assert "a: " in text
    assert "has read 1 texts of 176 bytes" in text
    assert ", which is models/tiny" in text
    assert ", which is not models/tiny" in text
    assert "1.memory" in text
    (b,) = json.loads(printed(capsys, "show", "b", "--json"))
    assert (b["file"], b["texts"], b["bytes"], b["streams"], b["fits"]) == ("b", 2, 352, 1, None)
    layer = b["layers"]["1.memory"]
    assert layer["slots"] == 64
    assert layer["used"] == layer["rows"] / 64
    assert layer["steps"] == 354  # with a separator each
    assert 0 < layer["mean_norm"] <= layer["max_norm"]
    fits = json.loads(printed(capsys, "show", "a", "x", "--json", "--model", "models/tiny"))
    assert [about["fits"] for about in fits] == [True, False]


def test_show_needs_no_table_as_large_as_the_model(capsys):
    """A model of as many slots as this would fill the machine; the file holds its rows alone."""
    tensors = load_file("a")
    with safe_open("a", "pt") as file:
        header = file.metadata()
    header["layers"] = header["layers"].replace("32", str(2**40))
    save_file(tensors, "huge", header | {"digest": digest(header, tensors)})
    (huge,) = json.loads(printed(capsys, "show", "huge", "--json"))
    assert huge["layers"]["1.memory"]["slots"] == 2**41


def test_diff(capsys):
    changes = json.loads(printed(capsys, "diff", "a", "b", "--json"))["layers"]["1.memory"]
    back = json.loads(printed(capsys, "diff", "b", "a", "--json"))["layers"]["1.memory"]
    assert changes["norm"] == back["norm"] > 0
    assert changes["added"] == back["removed"]
    assert changes["changed"] == back["changed"] > 0
    assert "changed" in printed(capsys, "diff", "a", "b")
    same = json.loads(printed(capsys, "diff", "a", "a", "--json"))["layers"]["1.memory"]
    assert not any(same.values())
    assert "x belongs to another model than a" in refused(capsys, "diff", "a", "x")


def test_merge(capsys):
    arguments = ("merge", "b", "c", "--base", "a", "--out", "m")
    assert "m: has read 3 texts of 1,458 bytes" in printed(capsys, *arguments)
    (about,) = json.loads(printed(capsys, "show", "m", "--json", "--model", "models/tiny"))
    assert about["fits"]
    assert about["layers"]["1.memory"]["steps"] == 177 + 177 + 1107
    assert main(["read", "models/tiny", "text/1.txt", "--memory", "m"]) == 0
    capsys.readouterr()
    assert "m: exists already" in refused(capsys, *arguments)
    assert "has read 3 texts" in printed(capsys, *arguments, "--overwrite")
    assert "x belongs to another model" in refused(capsys, "merge", "a", "x", "--out", "n")
    backwards = refused(capsys, "merge", "a", "b", "--base", "c", "--out", "n")
    assert "has read less than the base" in backwards


def test_reset(memories, capsys):
    assert "none: erased 1.memory" in printed(capsys, "reset", "b", "--out", "none")
    (empty,) = json.loads(printed(capsys, "show", "none", "--json"))
    assert (empty["texts"], empty["bytes"]) == (0, 0)
    assert empty["layers"]["1.memory"]["rows"] == empty["layers"]["1.memory"]["steps"] == 0
    assert main(["read", "models/tiny", "text/held/a.txt", "--memory", "none"]) == 0
    for key, tensor in load_file("none").items():
        assert torch.equal(tensor, load_file("a")[key])
    before = (memories / "b").read_bytes()
    message = refused(capsys, "reset", "b", "--layers", "2.memory", "--out", "b")
    assert "no layer is called 2.memory. The layers are 1.memory." in message
    assert "c: exists already" in refused(capsys, "reset", "b", "--out", "c")
    assert (memories / "b").read_bytes() == before
    assert "erased 1.memory" in printed(capsys, "reset", "b", "--out", "b")


def test_tables_beside_rows(capsys):
    """They are shown, compared, merged and erased alike."""
    for name, streams in (("a", [[1, 2, 1]]), ("b", [[1, 2, 1, 2, 3]])):
        both = FastWeights.join({"output": state_of(learn(streams))}).layers
        rows = FastWeights.load(name, None).layers
        FastWeights({**rows, **both}).save(f"{name}2", read_origin(name))
    lines = printed(capsys, "show", "b2").splitlines()
    assert ["mean norm" in line or "entries" in line for line in lines] == [0, 1, 0, 1, 0]
    (b,) = json.loads(printed(capsys, "show", "b2", "--json"))
    layer = b["layers"]["output.memory"]
    assert (layer["slots"], layer["entries"], layer["rows"], layer["steps"]) == (5, 9, 14, 5)
    assert layer["bytes"] < 1000  # of what is used
    changes = json.loads(printed(capsys, "diff", "a2", "b2", "--json"))["layers"]
    assert changes["output.memory"]["added"] == 4
    assert changes["1.memory"]["changed"] > 0
    assert "texts of" in printed(capsys, "merge", "b2", "a2", "--base", "a2", "--out", "m2")
    same = json.loads(printed(capsys, "diff", "b2", "m2", "--json"))["layers"]
    assert not any(same["output.memory"].values())
    printed(capsys, "reset", "b2", "--layers", "output.memory", "--out", "n2")
    (none,) = json.loads(printed(capsys, "show", "n2", "--json"))
    assert none["layers"]["output.memory"]["rows"] == 0 < none["layers"]["1.memory"]["rows"]


def spoil(kind):
    tensors = load_file("a")
    with safe_open("a", "pt") as file:
        header = file.metadata()
    if kind == "nan":
        tensors["1.memory.table.rows"][0, 0] = float("nan")
    elif kind == "narrow":
        tensors["1.memory.table.rows"] = tensors["1.memory.table.rows"][:, :1].contiguous()
    elif kind == "layers":
        header["layers"] = "[1]"
    elif kind == "texts":
        header["texts"] = "many"
    header["digest"] = digest(header, tensors)  # by whoever spoilt it, on purpose
    save_file(tensors, "bad", header if kind != "foreign" else None)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nan", "1.memory.table.rows holds NaN or infinity. Discard"),
        ("narrow", "damaged or not a memory file (1.memory has parts of shapes [58], [58, 1], "),
        ("layers", "damaged or not a memory file"),
        ("texts", "damaged or not a memory file"),
        ("foreign", "not a memory of this version of sparsemeta"),
    ],
)
@pytest.mark.parametrize("command", [("show",), ("diff", "a"), ("merge", "--out", "n", "a")])
def test_spoilt_files(memories, capsys, command, kind, words):
    spoil(kind)
    assert f"bad: {words}" in refused(capsys, *command, "bad")
    assert not (memories / "n").exists()


def test_other_files(memories, capsys):
    data = (memories / "a").read_bytes()
    for size in (0, 7, len(data) // 2, len(data) - 1):
        (memories / "bad").write_bytes(data[:size])
        assert "bad: damaged or not a memory file" in refused(capsys, "show", "a", "bad")
    assert "none: no such memory file" in refused(capsys, "show", "none")
    assert "text: no such memory file" in refused(capsys, "show", "text")
    assert "name a memory" in refused(capsys, "show")
