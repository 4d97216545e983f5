"""What a file claims is held against what is known of the model, before anything is allocated."""

import json
import subprocess
import sys
import textwrap
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import Blueprint, FastWeights, Origin, fingerprint
from sparsemeta.fast_weights.file import digest
from sparsemeta.nn import SparseMemory
from tests.fast_weights.states import CONFIG, equal, refuses_damage, rewrite


@pytest.fixture
def model():
    return nn.ModuleDict({"a": SparseMemory(8, CONFIG), "b": SparseMemory(8, CONFIG)})


def memory(model, streams):
    x = torch.randn(streams, 7, 8)
    return FastWeights.join({name: layer(x)[1].detach() for name, layer in model.items()})


@pytest.fixture
def blueprint(model):
    empty = FastWeights.join({name: layer.initial_state(1) for name, layer in model.items()})
    return Blueprint.of(model, empty)


@pytest.fixture
def path(model, tmp_path):
    memory(model, 1).save(tmp_path / "memory", model)
    return tmp_path / "memory"


def test_it_stands_for_the_model_and_no_weight_is_hashed(model, blueprint, path, monkeypatch):
    expected = FastWeights.load(path, model)
    monkeypatch.setattr("sparsemeta.fast_weights.file.fingerprint", None)
    assert equal(FastWeights.load(path, blueprint), expected)
    path.write_bytes(expected.encode(Origin(blueprint.fingerprint)))
    assert equal(FastWeights.load(path, blueprint), expected)


ENCODE = """
    import torch
    from sparsemeta.fast_weights import FastWeights, Origin
    from tests.fast_weights.tables import learn, state_of

    print(state_of(learn([[1, 2, 1, 2, 3]])).encode(Origin("of no model")).hex())
"""


def test_the_same_memory_is_the_same_file_in_every_process(path, model):
    command = [sys.executable, "-c", textwrap.dedent(ENCODE)]
    runs = [subprocess.run(command, capture_output=True, check=True).stdout for _ in range(4)]
    assert len(set(runs)) == 1
    state = FastWeights.load(path, model)
    assert state.encode(Origin(fingerprint(model))) == path.read_bytes()


def test_a_memory_of_another_model_is_refused(blueprint, path):
    with pytest.raises(StateError, match="belongs to another model"):
        FastWeights.load(path, replace(blueprint, fingerprint="0"))


def test_more_streams_are_refused(model, blueprint, path):
    memory(model, 2).save(path, model)
    FastWeights.load(path, model)
    with pytest.raises(StateError, match="other layers than the model, or of other shapes"):
        FastWeights.load(path, blueprint)


@pytest.mark.parametrize("names", [["a.memory"], ["a.memory", "c.memory"], ["a", "b.memory"]])
def test_other_layers_are_refused(model, blueprint, path, names):
    layers = dict(zip(names, memory(model, 1).layers.values(), strict=False))
    FastWeights(layers).save(path, model)
    FastWeights.load(path, model)  # a part of a memory is one
    with pytest.raises(StateError, match="other layers than the model"):
        FastWeights.load(path, blueprint)


@pytest.mark.parametrize("change", [lambda x: x.double(), lambda x: x[:, :-1], lambda x: x[:, :0]])
def test_parts_of_other_dtypes_and_widths_are_refused(blueprint, path, change):
    rewrite(path, "a.memory.last", change)
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, blueprint)


@pytest.mark.parametrize("extra", [{"c": torch.zeros(3)}, {"a.memory.steps": None}])
def test_tensors_that_no_layer_has_are_refused(path, extra):
    craft(path, path, extra)
    with pytest.raises(StateError, match="other tensors than its layers have parts"):
        FastWeights.load(path, None)


def craft(path, whole, tensors, layers=None):
    """A file like a whole one, but for some tensors and layers; its digest is right."""
    with safe_open(whole, framework="pt") as file:
        header = file.metadata()
    header["layers"] = json.dumps(json.loads(header["layers"]) | (layers or {}))
    stored = {k: x for k, x in (load_file(whole) | tensors).items() if x is not None}
    save_file(stored, path, metadata=header | {"digest": digest(header, stored)})


def test_no_damaged_file_is_read_as_something_else(model, blueprint, path):
    refuses_damage(path, blueprint, FastWeights.load(path, model))


CEILING = """
    import resource, sys
    from pathlib import Path
    from sparsemeta.errors import StateError
    from sparsemeta.fast_weights import FastWeights

    FastWeights.load(sys.argv[1], None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for path in sys.argv[2:]:
        try:
            FastWeights.load(path, None)
        except StateError as error:
            print(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print("grown", grown < 100_000)  # kilobytes
"""


def test_an_enormous_table_is_refused_without_the_model_too(path, tmp_path):
    """Few bytes that ask for a table of terabytes: heads, or streams of which one has rows."""
    heads, streams, many, rows = tmp_path / "heads", tmp_path / "streams", 2**17, 2**14
    craft(heads, path, {}, {"a.memory": ["LayerWeights", 1, 2**33, 50, 6]})
    parts = {
        "a.memory.table.index": torch.arange(rows),
        "a.memory.table.rows": torch.ones(rows, 6),
        "a.memory.last": torch.zeros(many, 0),
        "a.memory.steps": torch.zeros(many, dtype=torch.int64),
    }
    craft(streams, path, parts, {"a.memory": ["LayerWeights", many, 2, 2**30, 6]})
    command = [sys.executable, "-c", textwrap.dedent(CEILING), path, heads, streams]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.count("and this machine has") for line in lines] == [1, 1, 0]
    assert lines[-1] == "grown True"
