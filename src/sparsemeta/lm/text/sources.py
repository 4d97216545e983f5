"""What each kind of source holds: files and folders, the standard library, datasets."""

import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path
from typing import Any

from sparsemeta.errors import CorpusError, require_installed
from sparsemeta.lm.config import CorpusConfig

# Left out: tables and help texts, long runs of data rather than language; applications and tests,
# so that one kind of text, library code, remains.
_LEFT_OUT = {"encodings", "pydoc_data", "msilib", "lib2to3", "idlelib", "turtledemo"}
_LEFT_OUT |= {"test", "tests", "html/entities.py"}

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Document:
    """One text, read from its start to its end."""

    name: str
    """Its path, with forward slashes; of a part of a file, then # and its line, row or title."""
    text: str


def read_paths(source: str, config: CorpusConfig) -> list[Document]:
    """The text of a file, of a folder's files in path order, or of the files that a glob matches.

    Raises:
        CorpusError: the source is missing, holds no text, or has a file that cannot be read.
    """
    path = Path(source)
    if path.is_dir():
        files = [path / file for file in _files(path, config.suffixes)]
        problem = (
            f"no file with text in this folder ends in {', '.join(config.suffixes)}. "
            "Check the folder, or set corpus.suffixes"
        )
    elif has_magic(source) and not path.exists():
        found = map(Path, glob(source, recursive=True))
        files = sorted(filter(Path.is_file, found), key=Path.as_posix)
        problem = "matches no file with text. Check it; ** stands for folders of any depth"
    else:
        files, problem = [path], "is empty. Give a file with text, or leave it out"
    documents = _with_text(document for file in files for document in _read(file, config.field))
    if not documents:
        raise CorpusError(f"{source}: {problem}.")
    return documents


def read_stdlib() -> list[Document]:
    """The source of Python's standard library, without tests, applications and tables.

    Raises:
        CorpusError: this Python comes without it.
    """
    folder = Path(sysconfig.get_path("stdlib"))
    files = filter(_is_library_code, _files(folder, (".py",)))
    named = ((f"stdlib/{file.as_posix()}", folder / file) for file in files)
    documents = _with_text(Document(name, _decode(path)) for name, path in named)
    if not documents:
        raise CorpusError(
            f"{folder}: this Python comes without the source of its standard library. "
            "Name files or folders of your own instead of `stdlib`."
        )
    return documents


def read_dataset(place: str, field: str) -> list[Document]:
    """The rows of a Hugging Face dataset, a document each.

    Args:
        place: OWNER/NAME[/CONFIG][:SPLIT], or FOLDER[:SPLIT] for a local one; SPLIT is `train` if
            left out.
        field: the column of text.

    Raises:
        CorpusError: it cannot be loaded, has no such column of text, or no text in it.
        MissingExtra: `datasets` is not installed.
    """
    require_installed("datasets", "data")
    from datasets import load_dataset

    name, _, split = place.partition(":")
    parts = [name] if Path(name).is_dir() else name.split("/", maxsplit=2)
    try:
        rows: Any = load_dataset("/".join(parts[:2]), *parts[2:], split=split or "train")
    except Exception as error:  # the library raises nothing narrower
        reason = " ".join(str(error).split())
        raise CorpusError(
            f"hf:{place}: cannot be loaded ({reason}). Name it hf:OWNER/NAME/CONFIG:SPLIT, or "
            "hf:FOLDER:SPLIT if it is a local folder."
        ) from None
    if field in rows.column_names:
        rows = rows.select_columns(field)  # decodes no others, such as images
    named = ((f"hf:{place}#{i}", row) for i, row in enumerate(rows))
    documents = _with_text(Document(name, _text(name, row, field)) for name, row in named)
    if not documents:
        raise CorpusError(f"hf:{place}: no row has text in {field!r}. Set corpus.field.")
    return documents


def _is_library_code(path: Path) -> bool:
    return (
        path.parts[0].removesuffix(".py") in sys.stdlib_module_names  # no site-packages
        and path.as_posix() not in _LEFT_OUT
        and _LEFT_OUT.isdisjoint(path.parts)
    )


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The visible files with these suffixes, relative to the folder, sorted."""
    found = (path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())
    paths = (path.relative_to(folder) for path in found)
    visible = (path for path in paths if not any(part.startswith(".") for part in path.parts))
    return sorted(visible, key=Path.as_posix)


def _with_text(documents: Iterable[Document]) -> list[Document]:
    return [document for document in documents if document.text.strip()]


def _read(path: Path, field: str) -> Iterator[Document]:
    text = _decode(path)
    if path.suffix != ".jsonl":
        yield Document(path.as_posix(), text)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        name = f"{path.as_posix()}#{number}"
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CorpusError(
                f"{path}: line {number} is not JSON ({error}). Correct it, or take it out."
            ) from None
        yield Document(name, _text(f"{path}: line {number}", row, field))


def _text(where: str, row: Any, field: str) -> str:
    """The text of a line or row; an error, named by `where`, if it has none."""
    if not isinstance(row, dict) or field not in row:
        there = f"only {', '.join(row)}" if isinstance(row, dict) and row else "nor any other"
        raise CorpusError(f"{where} has no field {field!r}, {there}. Set corpus.field.")
    text = row[field]
    if not isinstance(text, str):
        raise CorpusError(
            f"{where} has no text in {field!r} but {text!r:.40}. Correct it, or set corpus.field."
        )
    if found := _SURROGATE.search(text):
        raise CorpusError(
            f"{where} has a lone surrogate at character {found.start()} of {field!r}, which is no "
            "character. Correct it, or take it out."
        )
    return text


def _decode(path: Path) -> str:
    """The text of a UTF-8 file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    if b"\0" in data:
        raise CorpusError(
            f"{path}: is binary (NUL at byte {data.index(0)}). Leave it out or convert it to UTF-8."
        )
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}: is not UTF-8 at byte {error.start}, line {line}. Convert it with iconv."
        ) from None
