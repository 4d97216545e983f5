"""Documents: what the sources of a corpus hold, in order.

    stdlib                            the source of Python's standard library
    hf:OWNER/NAME[/CONFIG][:SPLIT]    a Hugging Face dataset, a document a row; SPLIT: `train`
    hf:FOLDER[:SPLIT]                 the same of a local folder
    a file, a folder, a glob          a document a file; of .jsonl files, a document a line

A file or folder that is really called so is `./stdlib`.
"""

import json
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
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

# An article's first line stands between blank ones. Without that, lines of tables and formulas
# such as ` = 7 / 2 = ` would count as titles: WikiText-2 has 600, 60 and 60 articles.
_HEADING = re.compile(r"(?:\A|^ \n)( = (?!= )(.+) = \n)(?= \n)", re.MULTILINE)


@dataclass(frozen=True)
class Document:
    """One text, read from its start to its end."""

    name: str
    """Its path, with forward slashes; of a part of a file, then # and its line, row or title."""
    text: str


def read_documents(sources: Sequence[str], config: CorpusConfig) -> list[Document]:
    """Read texts, in the order given.

    Args:
        sources: as above. Folders are read recursively in the order of their paths, globs in
            sorted order, both without what is hidden. Documents without text are left out.
        config: which files of a folder, and which field of a line or row, are text.

    Raises:
        CorpusError: a source is missing, or its text is, or is not UTF-8 or not in that field.
    """
    found = [document for source in sources for document in _read_source(source, config)]
    if config.wikitext:
        return [article for document in found for article in split_articles(document)]
    return found


def split_articles(document: Document) -> list[Document]:
    """Cut a WikiText file before each level-one heading but the first, ` = Title = ` alone.

    The articles, named `file#Title`, joined are the file; without headings it stays whole.
    """
    headings = list(_HEADING.finditer(document.text))
    if not headings:
        return [document]
    starts = [0, *(heading.start(1) for heading in headings[1:])]
    ends = [*starts[1:], len(document.text)]
    return [
        Document(f"{document.name}#{heading[2]}", document.text[start:end])
        for heading, start, end in zip(headings, starts, ends, strict=True)
    ]


def split_holdout(
    documents: Iterable[Document], patterns: Sequence[str]
) -> tuple[list[Document], list[Document]]:
    """The documents to train on and those held out, each in its original order.

    The patterns are globs for a whole name or its last parts: `json/*`, `decoder.py`. `*` also
    matches slashes. Each has to match, and something has to be left to train on.
    """
    documents = list(documents)
    for pattern in patterns:
        if not any(_matches(document, pattern) for document in documents):
            raise CorpusError(
                f"holdout {pattern!r} matches none of the {len(documents)} documents. "
                "Correct it, or take it out of corpus.holdout."
            )
    split: tuple[list[Document], list[Document]] = ([], [])
    for document in documents:
        split[any(_matches(document, pattern) for pattern in patterns)].append(document)
    if not split[0]:
        raise CorpusError("every document is held out. Narrow corpus.holdout or add training text.")
    return split


def _matches(document: Document, pattern: str) -> bool:
    return any(fnmatchcase(document.name, name) for name in (pattern, f"*/{pattern}"))


def _read_source(source: str, config: CorpusConfig) -> list[Document]:
    """The documents of one source that have text; an error if none has."""
    if source == "stdlib":
        documents, problem = _read_stdlib()
    elif source.startswith("hf:"):
        documents, problem = _read_dataset(source.removeprefix("hf:"), config.field)
    else:
        documents, problem = _read_paths(source, config)
    found = [document for document in documents if document.text.strip()]
    if not found:
        raise CorpusError(problem)
    return found


def _read_paths(source: str, config: CorpusConfig) -> tuple[Iterator[Document], str]:
    """The text of a file, a folder's files, or a glob's; with it, what to say if there is none."""
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
    documents = (document for file in files for document in _read(file, config.field))
    return documents, f"{source}: {problem}."


def _read_stdlib() -> tuple[Iterator[Document], str]:
    """The source of Python's standard library, without tests, applications and tables."""
    folder = Path(sysconfig.get_path("stdlib"))
    files = filter(_is_library_code, _files(folder, (".py",)))
    documents = (Document(f"stdlib/{file.as_posix()}", _decode(folder / file)) for file in files)
    return documents, (
        f"{folder}: this Python comes without the source of its standard library. "
        "Name files or folders of your own instead of `stdlib`."
    )


def _read_dataset(place: str, field: str) -> tuple[Iterator[Document], str]:
    """The rows of a Hugging Face dataset, a document each; `field` is the column of text."""
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
    documents = (Document(name, _text(name, row, field)) for name, row in named)
    return documents, f"hf:{place}: no row has text in {field!r}. Set corpus.field."


def _is_library_code(path: Path) -> bool:
    known = path.parts[0].removesuffix(".py") in sys.stdlib_module_names  # no site-packages
    return known and _LEFT_OUT.isdisjoint({path.as_posix(), *path.parts})


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """The visible files with these suffixes, relative to the folder, sorted."""
    found = (path for path in folder.rglob("*") if path.suffix in suffixes and path.is_file())
    paths = (path.relative_to(folder) for path in found)
    return sorted((path for path in paths if "/." not in f"/{path.as_posix()}"), key=Path.as_posix)


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
