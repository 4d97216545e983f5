"""The kernels for GPUs, where there is none: played by Python, and compiled all the same."""

import os
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

from sparsemeta.errors import MissingExtra, ScanError
from sparsemeta.ops import BACKENDS
from tests.ops.segments import segment

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def test_kernels_played_by_python_equal_the_loop():
    """In a process of its own: Triton reads the variable once, when it is imported."""
    pytest.importorskip("triton")
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-rs", str(HERE / "kernels")]
    played = os.environ | {"TRITON_INTERPRET": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=played, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d\d passed", done.stdout)
    assert "skipped" not in done.stdout


@pytest.mark.parametrize("rule", ["delta", "hebbian"])
@pytest.mark.parametrize("state", ["fp32", "fp64"])
def test_kernels_compile_for_an_h100(rule, state):
    """To the machine's code: ptxas is part of Triton, and needs no GPU."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget

    from sparsemeta.ops.update.triton import kernels

    if not isinstance(kernels.forward, triton.JITFunction):
        pytest.skip("kernels are played by Python in this process")
    index, table = "*i64", f"*{state}"
    coarse = "*bf16" if state == "fp32" else table
    given = (index, table, coarse, table, table, index, table)
    types = {"given": given, "tensors": (table,) * 4, "saved": (table,) * 3, "made": (table,) * 5}
    fixed = {"sizes": (8, 8, 5, 8, 64), "BV": 16, "delta": rule == "delta", "save": True}
    for kernel in (kernels.forward, kernels.backward):
        names = kernel.arg_names
        types |= {"d_rows": table, "shape": ("i32",) * (3 + (kernel is kernels.backward))}
        signature = {name: "constexpr" if name in fixed else types[name] for name in names}
        constants = {name: fixed[name] for name in names if name in fixed}
        source = triton.compiler.ASTSource(kernel, signature, constexprs=constants)
        with warnings.catch_warnings(action="ignore"):  # of defaults that will change
            options = {"num_warps": 1, "num_stages": 1}
            found = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
        assert found.asm["cubin"]
        assert found.metadata.shared <= 48 * 1024


def test_auto_takes_them_on_gpus_alone():
    on_cpu = segment().segment
    assert not BACKENDS["triton"].usable(on_cpu)
    if torch.cuda.is_available():
        moved = on_cpu._replace(value=on_cpu.value.cuda())
        assert BACKENDS["triton"].usable(moved)


def test_on_a_cpu_they_are_refused_with_a_remedy():
    pytest.importorskip("triton")
    if os.environ.get("TRITON_INTERPRET") != "1":
        with pytest.raises(ScanError, match=r"'triton', which runs on GPUs.*choose auto"):
            segment().scan(backend="triton")


def test_they_say_what_they_need(monkeypatch):
    monkeypatch.setattr("sparsemeta.ops.compiled.installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"needs triton.*sparsemeta\[gpu\]"):
        segment().scan(backend="triton")
