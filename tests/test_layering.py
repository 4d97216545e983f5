"""What may import what: floors, front doors, no circles, and nothing optional unasked."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
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
    "augmented": 4,
    "lm": 5,
    "streams": 5,
    "rl": 5,
    "serve": 6,
    "cli": 7,
}

BESIDE_THE_DOOR = ("sparsemeta.lm.config", "sparsemeta.rl.config")
"""Files that another room may import past the front door: settings, which load no torch."""

HOMES = {
    "lightning": ("run/fabric.py",),
    "lightning_fabric": ("run/fabric.py",),
    "triton": ("ops/update/triton/",),
    "transformers": ("lm/", "augmented/"),
    "tokenizers": ("lm/",),
    "constriction": ("lm/compression/",),
    "datasets": ("lm/text/corpus.py",),
    "gymnasium": ("rl/",),
    "sklearn": ("streams/tasks/images.py",),
    "PIL": ("streams/tasks/images.py", "rl/"),
    "matplotlib": ("plotting.py", "lm/"),
    "tyro": ("cli/",),
    "fastapi": ("serve/",),
    "starlette": ("serve/api/",),
    "pydantic": ("serve/api/",),
    "jinja2": ("serve/api/chats.py",),
    "limits": ("serve/api/access.py",),
    "prometheus_client": ("serve/api/",),
    "uvicorn": ("serve/running.py",),
}

FRONT = ("__init__.py", "__main__.py")  # the two ways in: above all floors


def modules(package: Path = SOURCE) -> dict[str, list[Path]]:
    """The files of every module, by its name: a package may have a stub beside its source."""
    found: dict[str, list[Path]] = {}
    for path in [*package.rglob("*.py"), *package.rglob("*.pyi")]:
        parts = path.relative_to(package.parent).with_suffix("").parts
        found.setdefault(".".join(parts).removesuffix(".__init__"), []).append(path)
    return found


def imports(source: str, package: str, known: frozenset[str]) -> Iterator[str]:
    """Every module that a file imports: at its top, inside functions, and for type checkers.

    What is imported for type checkers counts too: names that need each other belong together.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1]
            home = ".".join([*(base if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{home}.{alias.name}"
                yield inner if inner in known else home


@cache
def graph() -> dict[str, frozenset[str]]:
    """What each module imports."""
    files = modules()
    known = frozenset(files)
    return {
        name: frozenset(
            module
            for path in paths
            for module in imports(
                path.read_text(encoding="utf-8"),
                name if path.stem == "__init__" else name.rpartition(".")[0],
                known,
            )
        )
        for name, paths in files.items()
    }


def file_of(module: str) -> str:
    """Where a module stands in the package."""
    return modules()[module][0].relative_to(SOURCE).with_suffix(".py").as_posix()


def room(module: str) -> str:
    """The top room of a module of the package; empty for the package itself."""
    return module.split(".")[1] if "." in module else ""


def allowed(file: str, module: str) -> bool:
    """Whether a file of the package may import a module."""
    package = module.partition(".")[0]
    if package != "sparsemeta":
        return file.startswith(HOMES.get(package, ""))
    if file in FRONT:
        return True
    here, there = file.partition("/")[0].removesuffix(".py"), room(module)
    if not there:
        return here == "cli"  # the version
    return here == there or FLOORS.get(there, 9) < FLOORS[here]


def through_the_door(module: str, there: str) -> bool:
    """Whether one room imports another as it should: a package of it, and no file within."""
    return (
        room(module) in (room(there), "")  # its own room; the front of the whole house
        or there in BESIDE_THE_DOOR
        or there.count(".") < 2
        or (SOURCE / "/".join(there.split(".")[1:])).is_dir()
    )


def circles(graph: dict[str, frozenset[str]]) -> list[str]:
    """Circles among the files and folders of every folder, its own front door being one of them.

    A circle of modules anywhere is a circle in the folder that holds them all.
    """
    found = []
    folders = {name.rpartition(".")[0] for name in graph if "." in name}
    for folder in sorted(folders):

        def child(module: str, folder: str = folder) -> str:
            return module.removeprefix(f"{folder}.").partition(".")[0] if module != folder else "."

        inside = {n for n in graph if n == folder or n.startswith(f"{folder}.")}
        edges: dict[str, set[str]] = {}
        for name in inside:
            ways = {child(module) for module in graph[name] & inside} - {child(name)}
            edges.setdefault(child(name), set()).update(ways)
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            found.append(f"{folder}: {' <- '.join(error.args[1])}")
    return found


def test_layering():
    assert len(graph()) > 20
    wrong = [
        f"{file_of(name)} imports {module}"
        for name, used in graph().items()
        for module in sorted(used)
        if not allowed(file_of(name), module)
    ]
    assert wrong == []


def test_rooms_are_entered_through_their_front_doors():
    wrong = [
        f"{file_of(name)} imports {module}"
        for name, used in graph().items()
        for module in sorted(used)
        if module.startswith("sparsemeta") and not through_the_door(name, module)
    ]
    assert wrong == []


def test_there_is_no_circle_at_any_depth():
    assert circles(graph()) == []


def test_circles_are_found():
    straight = {
        "a": {"a.x"},
        "a.x": {"a.b.y"},
        "a.b": {"a.b.y"},
        "a.b.y": {"a.b.z"},
        "a.b.z": set(),
    }
    assert circles({name: frozenset(used) for name, used in straight.items()}) == []
    for bent, where in (
        ({"a.b.z": {"a.b.y"}}, "a.b: "),  # files of one folder
        ({"a.b.z": {"a.x"}}, "a: "),  # a folder, and a file beside it
        ({"a.b.z": {"a.b"}}, "a.b: "),  # a file, and its own front door
    ):
        (circle,) = circles({name: frozenset(used) for name, used in (straight | bent).items()})
        assert circle.startswith(where)


@pytest.mark.parametrize(
    ("file", "module"),
    [
        ("nn/layer.py", "sparsemeta.lm.config"),  # up
        ("ops/scan.py", "sparsemeta.config"),  # sideways
        ("rl/agent.py", "sparsemeta.lm.modelling"),  # sideways
        ("lm/modelling.py", "sparsemeta"),  # the front door of the whole house
        ("lm/training.py", "lightning_fabric"),
        ("ops/report.py", "matplotlib.figure"),
        ("nn/layer.py", "transformers"),
        ("run/log.py", "sparsemeta.lm.config"),
    ],
)
def test_layering_refuses(file, module):
    assert not allowed(file, module)


def test_doors():
    for file in ("sparsemeta.cli.commands.bench", "sparsemeta.rl.agent"):
        assert through_the_door(file, "sparsemeta.nn")
        assert through_the_door(file, "sparsemeta.errors")
        assert not through_the_door(file, "sparsemeta.nn.parts")
    assert through_the_door("sparsemeta.nn.health", "sparsemeta.nn.parts")
    assert through_the_door("sparsemeta.cli.commands.bench", "sparsemeta.streams.bench")


def test_imports_are_found_wherever_they_stand():
    source = "def f():\n    from p import run, g\n    import a.b, c\n    from .e import f"
    found = list(imports(source, "p.q", frozenset({"p.run", "p.q.e"})))
    assert found == ["p.run", "p", "a.b", "c", "p.q.e"]


OPTIONAL = {
    *("tokenizers", "lightning_fabric", "lightning", "matplotlib", "numba", "transformers"),
    *("datasets", "lm_eval", "tensorboard", "sklearn", "PIL", "gymnasium", "popgym", "river"),
    *("constriction", "fastapi", "starlette", "uvicorn", "limits", "prometheus_client"),
    "triton",
}
"""What the extras bring."""

WITHOUT_EXTRAS = """
import importlib, sys
from importlib.machinery import PathFinder


class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        hidden = name.partition(".")[0] in {optional}
        return None if hidden else super().find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Without
for name in {names}:
    try:
        importlib.import_module(name)
    except ImportError as missing:
        print(name, missing)
"""


def test_every_module_imports_without_extras_unless_it_names_one():
    names = sorted({*graph()} - {"sparsemeta.__main__"})
    code = WITHOUT_EXTRAS.format(optional=OPTIONAL, names=names)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    missed = {line.partition(" ")[0]: line for line in done.stdout.splitlines()}
    named = {
        name
        for name, used in graph().items()
        if any(module.partition(".")[0] in OPTIONAL for module in used)
    }
    beside = {name for name in missed if name.rpartition(".")[0] in named & missed.keys()}
    assert [missed[name] for name in missed.keys() - named - beside] == []
    assert not missed.keys() & {f"sparsemeta.{room}" for room in FLOORS}
