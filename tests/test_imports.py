"""What is public, and what an import costs."""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import sparsemeta
from sparsemeta.cli import COMMANDS

ROOT = Path(sparsemeta.__file__).parents[2]


def test_public_names():
    assert {"FastWeights", "MemoryConfig", "SparseMemory", "scan"} <= set(sparsemeta.__all__)
    for name in sparsemeta.__all__:
        assert name in dir(sparsemeta)
        assert getattr(sparsemeta, name).__name__ == name
    with pytest.raises(AttributeError, match="No sparsemeta attribute Transformer"):
        _ = sparsemeta.Transformer


def test_every_error_is_public():
    from sparsemeta import errors

    kinds = {name for name in vars(errors) if isinstance(vars(errors)[name], type)}
    assert kinds <= set(sparsemeta.__all__)


def test_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == sparsemeta.__version__


HEAVY = {"torch", "numpy", "transformers", "gymnasium", "matplotlib", "lightning_fabric", "tyro"}


def loaded(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after running some code."""
    probe = f"{code}\nimport sys; print('loaded', *sorted({HEAVY!r} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split()[1:])


HELP = "from sparsemeta.cli import main\ntry: main({})\nexcept SystemExit: pass"


def test_import_is_free():
    assert loaded("import sparsemeta") == set()
    assert loaded(HELP.format(["--help"])) == set()
    assert loaded(HELP.format(["rl", "--help"])) == set()


def commands(tree=COMMANDS, before=()) -> Iterator[tuple[str, ...]]:
    """The words that call each command."""
    for name, what in tree.items():
        yield from [(*before, name)] if isinstance(what, str) else commands(what, (*before, name))


@pytest.mark.parametrize("command", list(commands()), ids=" ".join)
def test_help_of_a_command_needs_no_torch(command):
    assert loaded(HELP.format([*command, "--help"])) == {"tyro"}


def test_the_core_needs_no_optional_package():
    code = "import sparsemeta; sparsemeta.SparseMemory; sparsemeta.FastWeights; sparsemeta.scan"
    assert loaded(code) == {"torch", "numpy"}
