"""README and the pages of docs: their code runs, and the commands that they show exist.

Blocks of ```python are run in order, a page in one go, in a folder where `runs/demo` is a small
model and `demo-hf` its export, or `my-model` one of transformers. A block that cannot run says so
in a comment above its fence: `<!-- not run: why -->`.
"""

import contextlib
import itertools
import re
import shlex
from pathlib import Path

import pytest

import sparsemeta
from sparsemeta.cli import COMMANDS, main
from tests.cli.conftest import write_base, write_project

ROOT = Path(sparsemeta.__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDED = [*PAGES, *sorted((ROOT / "experiments").glob("*/*.md")), ROOT / "scripts/demo"]
RECIPES = {("train",): "recipes/demo.toml", ("rl", "train"): "recipes/rl/card-sorting.toml"}
"""What stands for a recipe that is but a name."""


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: str) -> list[str]:
    """The Python of a page that is to be run."""
    fenced = re.finditer(r"(<!-- not run: .+? -->\n+)?^```python\n(.*?)^```$", page, re.M | re.S)
    return [code for skipped, code in (found.groups() for found in fenced) if not skipped]


def command_lines(page: str) -> list[str]:
    """Every `sparsemeta ...` on a page, on lines of their own or within text."""
    joined = re.sub(r"^```.*?^```$", "", page.replace("\\\n", " "), flags=re.M | re.S)
    alone = re.findall(r"^(?: {4}|\.venv/bin/)sparsemeta (.*)$", joined, re.M)
    inline = re.findall(r"`sparsemeta\s([^`]+)`", joined)
    return [shlex.join(shlex.split(line, comments=True)) for line in (*alone, *inline)]


@pytest.mark.parametrize("page", [p for p in PAGES if blocks(text(p))], ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch):
    code = blocks(text(page))
    monkeypatch.chdir(tmp_path)
    if "demo-hf" in "".join(code):
        pytest.importorskip("transformers")
        write_project(tmp_path)
        assert main(["train", "tiny.toml", "--run", "runs/demo"]) == 0
        assert main(["export", "runs/demo", "demo-hf"]) == 0
    if "my-model" in "".join(code):
        for needed in ("transformers", "accelerate", "sklearn"):
            pytest.importorskip(needed)
        write_base(tmp_path / "my-model", window=256)
        (tmp_path / "my").mkdir()
        (tmp_path / "my" / "notes.txt").write_text("the square of 7 is 49\n" * 40)
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, page.name, "exec"), names)


def test_what_is_run_and_what_is_not():
    page = "a\n```python\n1\n```\n<!-- not run: why -->\n```python\n2\n```\n```python\n3\n```\n"
    assert blocks(page) == ["1\n", "3\n"]
    page = (
        "    sparsemeta a --c \\\n    'd e'  # f\n\nor `sparsemeta\ng`\n```python\n`sparsemeta x`\n"
    )
    page += "```\n"
    assert command_lines(page) == ["a --c 'd e'", "g"]


SHOWN = sorted({line for page in COMMANDED for line in command_lines(text(page))})


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_that_is_shown_exists(line, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    words, tree, path = shlex.split(line), COMMANDS, ()
    while isinstance(tree, dict) and words and not words[0].startswith("-"):
        name, *words = words
        assert name in tree, f"there is no command {' '.join((*path, name))}"
        tree, path = tree[name], (*path, name)
    given = [*itertools.takewhile(lambda word: not word.startswith("-"), words)]
    given = [RECIPES.get(path, word) if word.endswith(".toml") else word for word in given]
    with contextlib.suppress(SystemExit):
        main([*path, *given, "--help"])
    said = capsys.readouterr().out
    assert said.startswith(f"usage: sparsemeta {' '.join(path)}")
    offered = re.findall(r"--[\w.-]+", said)
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= {*offered}
