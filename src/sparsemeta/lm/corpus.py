"""Documents: text files, folders of them, and the source of Python's standard library."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from sparsemeta.errors import CorpusError

STDLIB = "stdlib"

# Left out: tables and help texts, long runs of data rather than language; applications and tests,
# so that one kind of text, library code, remains.
_LEFT_OUT = {"encodings", "pydoc_data", "msilib", "lib2to3", "idlelib", "turtledemo"}
_LEFT_OUT |= {"test", "tests", "html/entities.py"}


@dataclass(frozen=True)
class Document:
    """One text, read from its start to its end."""

    name: str
    """Its path, with forward slashes."""
    text: str


def read_documents(sources: Sequence[str], suffixes: tuple[str, ...]) -> list[Document]:
    """Read texts, in the order given.

    Args:
        sources: files; folders, read recursively in the order of their paths, without hidden and
            empty files; or `stdlib`, the source of Python's standard library (a folder of that
            name is `./stdlib`).
        suffixes: which files of a folder are text; a file named as a source is read whatever its
            suffix.

    Raises:
        CorpusError: a source is missing or empty, or a file is not UTF-8 text.
    """
    return [document for source in sources for document in _read_source(source, suffixes)]


def split_holdout(
    documents: Iterable[Document], patterns: Sequence[str]
) -> tuple[list[Document], list[Document]]:
    """Keep some documents out of training.

    Args:
        documents: all of them.
        patterns: globs for a whole name or its last parts: `json/*`, `decoder.py`. `*` also
            matches slashes.

    Returns:
        The documents to train on and those held out, each in its original order.

    Raises:
        CorpusError: a pattern matches no document, or nothing is left to train on.
    """
    documents = list(documents)
    for pattern in patterns:
        if not any(_matches(document, pattern) for document in documents):
            raise CorpusError(
                f"holdout {pattern!r} matches none of the {len(documents)} documents. "
                "Correct it, or take it out of corpus.holdout."
            )
    train: list[Document] = []
    heldout: list[Document] = []
    for document in documents:
        held = any(_matches(document, pattern) for pattern in patterns)
        (heldout if held else train).append(document)
    if not train:
        raise CorpusError("every document is held out. Narrow corpus.holdout or add training text.")
    return train, heldout


def _matches(document: Document, pattern: str) -> bool:
    return fnmatchcase(document.name, pattern) or fnmatchcase(document.name, f"*/{pattern}")


def _read_source(source: str, suffixes: tuple[str, ...]) -> list[Document]:
    if source == STDLIB:
        return _read_stdlib()
    path = Path(source)
    if not path.is_dir():
        document = _read_file(path, path.as_posix())
        if not document.text.strip():
            raise CorpusError(f"{path}: is empty. Give a file with text, or leave it out.")
        return [document]
    documents = _read_folder(path, path.as_posix(), _files(path, suffixes))
    if not documents:
        raise CorpusError(
            f"{path}: no file with text in this folder ends in {', '.join(suffixes)}. "
            "Check the folder, or set corpus.suffixes."
        )
    return documents


def _read_stdlib() -> list[Document]:
    folder = Path(sysconfig.get_path("stdlib"))
    documents = _read_folder(folder, STDLIB, filter(_is_library_code, _files(folder, (".py",))))
    if not documents:
        raise CorpusError(
            f"{folder}: this Python comes without the source of its standard library. "
            "Name files or folders of your own instead of `stdlib`."
        )
    return documents


def _is_library_code(path: Path) -> bool:
    return (
        path.parts[0].removesuffix(".py") in sys.stdlib_module_names  # no site-packages
        and path.as_posix() not in _LEFT_OUT
        and _LEFT_OUT.isdisjoint(path.parts)
    )


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The visible files with these suffixes, relative to the folder, sorted."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.suffix in suffixes)
    visible = (path for path in paths if not any(part.startswith(".") for part in path.parts))
    return sorted(visible, key=Path.as_posix)


def _read_folder(folder: Path, name: str, paths: Iterable[Path]) -> list[Document]:
    files = (path for path in paths if (folder / path).is_file())
    documents = (_read_file(folder / path, f"{name}/{path.as_posix()}") for path in files)
    return [document for document in documents if document.text.strip()]


def _read_file(path: Path, name: str) -> Document:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    if b"\0" in data:
        raise CorpusError(
            f"{path}: is binary (NUL at byte {data.index(0)}). Leave it out or convert it to UTF-8."
        )
    try:
        return Document(name, data.decode("utf-8"))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}: is not UTF-8 at byte {error.start}, line {line}. Convert it with iconv."
        ) from None
