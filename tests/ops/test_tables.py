"""The tables of backends and addressings: what a recipe may name of them."""

import ast
from pathlib import Path
from typing import get_args

import pytest
import torch

import sparsemeta
from sparsemeta.config import AddressKind
from sparsemeta.errors import ConfigError, MissingExtra, ScanError
from sparsemeta.nn import MemoryConfig, SparseMemory
from sparsemeta.ops import ADDRESSINGS, BACKENDS
from tests.ops.segments import segment

OPS = Path(sparsemeta.__file__).parent / "ops"


def test_a_recipe_may_name_every_addressing():
    assert get_args(AddressKind) == tuple(ADDRESSINGS)


@pytest.mark.parametrize("name", ADDRESSINGS)
def test_a_recipe_chooses_the_form_of_the_update(name, monkeypatch):
    used, outputs = [], []
    x = torch.randn(2, 12, 8, dtype=torch.float64)
    forms = [name for name in BACKENDS if name != "triton" or torch.cuda.is_available()]
    for backend in ("auto", *forms):
        torch.manual_seed(1)
        config = MemoryConfig(slots=25, active=3, heads=2, addressing=name, backend=backend)
        layer = SparseMemory(8, config).double()
        torch.nn.init.normal_(layer.output.weight)
        if backend != "auto":
            row = BACKENDS[backend]

            def note(*given, row=row, backend=backend):
                used.append(backend)
                return row.function(*given)

            monkeypatch.setitem(BACKENDS, backend, row._replace(function=note))
        outputs.append(layer(x)[0])
    assert used == forms
    for found in outputs[1:]:
        torch.testing.assert_close(found, outputs[0], rtol=1e-10, atol=1e-12)


def test_a_backend_that_there_is_not_is_refused():
    with pytest.raises(ConfigError, match=r"memory.backend = 'cuda' is not one of auto, native, "):
        SparseMemory(8, MemoryConfig(backend="cuda"))
    with pytest.raises(ScanError, match="backend is 'cuda'; choose auto, native, triton, chunked"):
        segment().scan(backend="cuda")


def test_the_native_form_says_what_it_needs(monkeypatch):
    monkeypatch.setattr("sparsemeta.ops.compiled.installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"needs numba.*sparsemeta\[fast\]"):
        segment().scan(backend="native")


def test_no_function_takes_more_than_eight_arguments():
    for path in OPS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                given = node.args
                count = len(given.posonlyargs + given.args + given.kwonlyargs)
                assert count <= 8, f"{path.name}: {node.name}"
