"""What keeps the house small: short files, short parameter lists, and no new exceptions."""

import ast
import re
from pathlib import Path

import sparsemeta

SOURCE = Path(sparsemeta.__file__).parent
ROOT = SOURCE.parent.parent

LONGEST = {"src": 300, "tests": 350, "benchmarks": 350, "experiments": 350}
"""Lines of a file, by folder."""
PARAMETERS = 8
"""Of a function in `ops`, without self."""
EXCEPTIONS = 12
"""Lines of src that a linter or type checker is told to pass over. Fewer is better."""


def test_no_file_is_too_long():
    lines = {
        (folder, path.relative_to(ROOT).as_posix()): path.read_text(encoding="utf-8").count("\n")
        for folder in LONGEST
        for path in (ROOT / folder).rglob("*.py")
    }
    assert len(lines) > 100
    assert {path: n for (folder, path), n in lines.items() if n > LONGEST[folder]} == {}


def test_no_parameter_list_of_the_mathematics_is_too_long():
    long = {}
    for path in (SOURCE / "ops").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                given = node.args
                names = [a.arg for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
                count = len([name for name in names if name not in ("self", "cls", "ctx")])
                if count > PARAMETERS:
                    long[f"{path.relative_to(SOURCE)}:{node.name}"] = count
    assert long == {}


def test_no_exception_is_added():
    found = [
        f"{path.relative_to(SOURCE)}:{number}"
        for path in SOURCE.rglob("*.py*")
        if path.suffix in (".py", ".pyi")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "# noqa" in line or "# type: ignore" in line
    ]
    assert len(found) <= EXCEPTIONS, found


def test_pre_commit_formats_as_the_gate_does():
    pinned = re.search(r"^ruff==(.+)$", (ROOT / "requirements/ci.txt").read_text(), re.M)
    assert pinned
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert f"ruff-pre-commit\n    rev: v{pinned[1]}\n" in hooks
