"""Tables on disk, beside rows: bit for bit, or refused; no loop ever meets what is no table."""

import random
from dataclasses import replace

import pytest
import torch
from hypothesis import given as for_all, settings
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, Origin, TableWeights, read_origin
from sparsemeta.fast_weights.entries import AT, COLUMNS, DISTINCT, LAST, LINK, TOKEN
from sparsemeta.nn import SparseMemory
from tests.fast_weights import tables
from tests.fast_weights.states import CONFIG, equal, refuses_damage, rewrite
from tests.fast_weights.tables import KEEP, LAYOUT, learn, same, state_of

TEXTS = ([1, 2, 1, 2, 3, 1, 2, 0], [4, 4, 4], [])


class Tables(nn.Module):
    """Something that has tables."""

    layout = LAYOUT


def header_of(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.fixture
def model():
    other = nn.Identity()
    other.layout = "of another kind"
    return nn.ModuleDict({"hidden": SparseMemory(8, CONFIG), "output": Tables(), "other": other})


@pytest.fixture
def state(model):
    hidden = model["hidden"](torch.randn(3, 7, 8))[1].detach()
    return FastWeights.join({"hidden": hidden, "output": state_of(learn(TEXTS))})


@pytest.fixture
def path(model, state, tmp_path):
    state.save(tmp_path / "memory", model)
    return tmp_path / "memory"


def test_saved_loaded_and_saved_again_bit_for_bit(model, state, path):
    again = path.with_name("again")
    for reader in (model, None):
        loaded = FastWeights.load(path, reader)
        assert [type(layer) for layer in loaded.layers.values()] == [
            type(layer) for layer in state.layers.values()
        ]
        assert equal(loaded.child("output"), state.child("output"))
        assert not any(loaded.diff(state)["output.memory"].values())
        loaded.save(again, read_origin(path))
        assert header_of(again) == header_of(path)  # with it, the digest of all
    assert equal(FastWeights.load(path, model), state)


@settings(max_examples=25, deadline=None)
@for_all(tables.texts, tables.texts)
def test_what_is_loaded_goes_on_as_what_was_saved(tmp_path_factory, texts, more):
    path, learned = tmp_path_factory.getbasetemp() / "memory", learn(texts)
    state_of(learned).save(path, Origin("of no model"))
    loaded = FastWeights.load(path, None).layers["memory"]
    assert same(learn(more, loaded), learn(more, learned))
    made = state_of(TableWeights.of_entries(learned.entries(), learned))  # so is what they make
    made.save(path, Origin("of no model"))
    assert equal(FastWeights.load(path, None), made)


def test_a_file_follows_what_is_used(tmp_path):
    learned = learn(TEXTS)
    room = {
        name: torch.nn.functional.pad(x, [0, 0] * (x.dim() - 2) + [0, 10_000])
        for name, x in learned.tensors().items()
        if name in ("key", "weight", "rows")
    }
    sizes = []
    for tables_held in (learned, replace(learned, **room), replace(learned, bucket=room["rows"])):
        state_of(tables_held).save(tmp_path / "memory", Origin("of no model"))
        sizes.append((tmp_path / "memory").stat().st_size)
    assert len(set(sizes)) == 1
    rows = load_file(tmp_path / "memory")["memory.rows"]
    assert len(rows) == learned.used[:, 0].sum()


def test_in_double_precision(tmp_path):
    learned = learn(TEXTS, TableWeights.empty(LAYOUT, 3, KEEP, torch.float64))
    state_of(learned).save(tmp_path / "memory", Origin("of no model"))
    assert equal(FastWeights.load(tmp_path / "memory", None), state_of(learned))


def test_an_empty_one(model, state, path):
    state.reset().save(path, model)
    assert equal(FastWeights.load(path, model), state.reset())


def test_no_damaged_file_is_read_as_something_else(model, state, path):
    refuses_damage(path, model, state)


@pytest.mark.parametrize(
    ("field", "value"), [("heads", 2), ("sets", 6), ("recent", 4), ("capacity", 20), ("classes", 4)]
)
def test_another_layout_is_refused(model, path, field, value):
    model["output"].layout = LAYOUT._replace(**{field: value})
    words = {"capacity": "holds 23 rows, more than tables.capacity = 20: raise it"}
    with pytest.raises(StateError, match=words.get(field, "damaged")):
        FastWeights.load(path, model)


@pytest.mark.parametrize(
    "claim",
    [
        ["TableWeights", 3, 3, 5, 2**40],
        ["TableWeights", 2**40, 3, 5, 3],
        ["TableWeights", 3, 2**40, 5, 3],
        ["TableWeights", 3, 3, 5],
        ["TableWeights", 3, 3, 5, -3],
        ["TableWeights", 3, 3, 5, "3"],
        ["LayerWeights", 3, 3, 5, 3],
        ["SparseWeights", 3, 3, 5, 3],
        [],
        None,
    ],
)
def test_a_claim_that_cannot_be_is_refused_before_anything_is_read(path, monkeypatch, claim):
    rewrite(path, layers=lambda layers: layers | {"output.memory": claim})
    monkeypatch.setattr("sparsemeta.fast_weights.file.digest", None)  # it reads all tensors
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, None)


def at(row, column, value):
    """An edit of one number; rows of the file, column by column, are those of `TEXTS`."""

    def change(tensor):
        tensor = tensor.clone()
        tensor[(row, column) if tensor.dim() == 2 else row] = value
        return tensor

    return change


SLOT, ENTRY, OTHER = 0, 1, 2
"""The first rows: of no token, then what came first; then of the token that came first."""


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("rows", at(SLOT, TOKEN, -4), "heads or tokens out of range"),
        ("rows", at(ENTRY, TOKEN, 5), "heads or tokens out of range"),
        ("rows", at(SLOT, LINK, 29), "lead out of the table"),
        ("rows", at(SLOT, LINK, -1), "lead out of the table"),
        ("rows", at(SLOT, LINK, 0), "that no link leads to"),
        ("rows", at(SLOT, LINK, OTHER + 2), "links between slots"),
        ("rows", at(ENTRY, LINK, ENTRY + 1), "that no link leads to, or several"),
        ("rows", at(SLOT, DISTINCT, 1), "slots of other sizes"),
        ("rows", at(ENTRY, DISTINCT, 1), "slots of other sizes"),
        ("rows", at(ENTRY, AT, 99), "written before their slots"),
        ("rows", at(SLOT, AT, -1), "written before their slots"),
        ("rows", at(ENTRY, LAST, 9), "entries of another time"),
        ("rows", at(ENTRY, TOKEN, 2), "a row twice"),
        ("rows", lambda rows: rows.long(), "other dtypes"),
        ("rows", lambda rows: rows[:-1], "parts of shapes"),
        ("key", at(ENTRY, 0, 0), "lead out of the table"),
        ("key", at(ENTRY, 0, 2), "entries of no slot"),
        ("key", at(SLOT, 0, -1), "lead out of the table"),
        ("weight", at(ENTRY, 0, -1.0), "weights below zero"),
        ("weight", at(ENTRY, 0, float("nan")), "holds NaN or infinity"),
        ("weight", lambda weight: weight.double(), "other dtypes"),
        ("used", at(0, 0, 27), "counts that are not"),
        ("used", at(2, 0, -1), "counts that are not"),
        ("used", at(0, 1, 5), "entries of another time"),
        ("recent", at(0, 0, 5), "tokens that there are not"),
        ("recent", at(0, 1, -1), "tokens with gaps"),
        ("keep", at(0, 0, 1.5), "a gate out of range"),
        ("theta", lambda theta: theta / 0, "holds NaN or infinity"),
        ("moved", lambda moved: moved - 1, "a gate out of range"),
    ],
)
def test_what_is_no_table_is_refused(model, path, part, change, words):
    rewrite(path, f"output.memory.{part}", change)
    with pytest.raises(StateError, match=words):
        FastWeights.load(path, model)


def test_links_in_a_circle_are_refused(tmp_path):
    """Of the entries of a slot, all but the first lead to each other, and none is left out."""
    path, learned = tmp_path / "memory", learn([[0, 1, 2, 3, 4]])
    state_of(learned).save(path, Origin("of no model"))
    rows = load_file(path)["memory.rows"]
    slot = int((rows[:, TOKEN] == -1).nonzero()[0])
    chain = [slot]
    while rows[chain[-1], LINK]:
        chain.append(int(rows[chain[-1], LINK]) - 1)
    rows[chain[1], LINK], rows[chain[-1], LINK] = 0, chain[2] + 1
    rewrite(path, "memory.rows", lambda _: rows)
    with pytest.raises(StateError, match="links in a circle"):
        FastWeights.load(path, None)


def test_any_one_number_of_a_row_may_be_another(path, model):
    """With a right digest: the file is refused, or what it holds is some table."""
    draw, data = random.Random(0), path.read_bytes()
    rows = load_file(path)["output.memory.rows"]
    for _ in range(100):
        path.write_bytes(data)
        row, column = draw.randrange(len(rows)), draw.randrange(COLUMNS)
        rewrite(path, "output.memory.rows", at(row, column, draw.randrange(-5, 30)))
        try:
            loaded = FastWeights.load(path, model).layers["output.memory"]
        except StateError:
            continue
        assert same(TableWeights.of_entries(loaded.entries(), loaded), loaded)
