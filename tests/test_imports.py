"""What may import what, what is public, and what an import costs."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import sparsemeta

SOURCE = Path(sparsemeta.__file__).parent
ROOT = SOURCE.parent.parent

FLOORS = {
    "errors": 0,
    "files": 1,
    "config": 2,
    "plotting": 2,
    "ops": 2,
    "fast_weights": 2,
    "nn": 3,
    "run": 4,
    "augment": 4,
    "lm": 5,
    "streams": 5,
    "rl": 5,
    "cli": 6,
}

HOMES = {
    "lightning": ("run/fabric.py",),
    "lightning_fabric": ("run/fabric.py",),
    "transformers": ("lm/", "augment/"),
    "tokenizers": ("lm/",),
    "datasets": ("lm/text/sources.py",),
    "gymnasium": ("rl/",),
    "sklearn": ("streams/digits.py",),
    "PIL": ("streams/omniglot.py", "rl/film.py"),
    "matplotlib": ("plotting.py", "streams/plots.py", "rl/plots.py"),
    "tyro": ("cli/",),
}

FRONT = ("__init__.py", "__main__.py")  # the two ways in: above all floors


def imports(source: str) -> list[str]:
    """Every module that a file imports, wherever in the file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "sparsemeta":
                found += [f"sparsemeta.{alias.name}" for alias in node.names]
            else:
                found.append(str(node.module))
    return found


def allowed(file: str, module: str) -> bool:
    """Whether a file of the package may import a module."""
    package, _, inner = module.partition(".")
    if package != "sparsemeta":
        return file.startswith(HOMES.get(package, ""))
    if file in FRONT:
        return True
    here, there = file.partition("/")[0].removesuffix(".py"), inner.partition(".")[0]
    if not there:
        return here == "cli"  # the version
    return here == there or FLOORS.get(there, 9) < FLOORS[here]


def test_layering():
    files = {path.relative_to(SOURCE).as_posix(): path for path in SOURCE.rglob("*.py")}
    assert len(files) > 20
    wrong = [
        f"{file} imports {module}"
        for file, path in files.items()
        for module in imports(path.read_text(encoding="utf-8"))
        if not allowed(file, module)
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("nn/layer.py", "sparsemeta.lm.config"),  # up
        ("ops/scan.py", "sparsemeta.config"),  # sideways
        ("rl/agent.py", "sparsemeta.lm.modelling"),  # sideways
        ("lm/modelling.py", "sparsemeta.FastWeights"),  # through the front door
        ("lm/modelling.py", "sparsemeta"),
        ("lm/training.py", "lightning_fabric"),
        ("lm/evaluation/plots.py", "matplotlib.figure"),
        ("nn/layer.py", "transformers"),
        ("run/log.py", "sparsemeta.lm.config"),
    ],
)
def test_layering_refuses(file, module):
    assert not allowed(file, module)


def test_imports_are_found_inside_functions():
    source = "def f():\n    from sparsemeta import run\n    import a.b, c\n    from d.e import f"
    assert imports(source) == ["sparsemeta.run", "a.b", "c", "d.e"]


def test_public_names():
    assert sparsemeta.__all__ == [
        "Addressing",
        "CheckpointError",
        "ConfigError",
        "CorpusError",
        "FastWeights",
        "Health",
        "LayerWeights",
        "MemoryConfig",
        "MetaLearner",
        "MissingExtra",
        "OnlineClassifier",
        "OnlineRegressor",
        "ScanError",
        "SparseMemory",
        "SparseMetaError",
        "SparseMetaRNN",
        "StateError",
        "StreamError",
        "StreamLearner",
        "TrainingError",
        "__version__",
        "checked",
        "dense_address",
        "memory_off",
        "observe",
        "product_address",
        "scan",
        "signed_address",
        "topk_address",
    ]
    for name in sparsemeta.__all__:
        assert name in dir(sparsemeta)
        value = getattr(sparsemeta, name)
        assert name == "__version__" or value.__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Transformer'"):
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


@pytest.mark.parametrize(
    "command",
    [
        *("train", "evaluate", "read", "generate", "memory", "export", "bench"),
        *("rl train", "rl evaluate", "rl watch"),
    ],
)
def test_help_of_a_command_needs_no_torch(command):
    assert loaded(HELP.format([*command.split(), "--help"])) == {"tyro"}


def test_the_core_needs_no_optional_package():
    code = "import sparsemeta; sparsemeta.SparseMemory; sparsemeta.FastWeights; sparsemeta.scan"
    assert loaded(code) == {"torch", "numpy"}
