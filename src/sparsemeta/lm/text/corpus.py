"""Documents: what the sources of a corpus hold, in order.

    stdlib                            the source of Python's standard library
    hf:OWNER/NAME[/CONFIG][:SPLIT]    a Hugging Face dataset, a document a row; SPLIT: `train`
    hf:FOLDER[:SPLIT]                 the same of a local folder
    a file, a folder, a glob          a document a file; of .jsonl files, a document a line

A file or folder that is really called so is `./stdlib`.
"""

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from sparsemeta.errors import CorpusError
from sparsemeta.lm.config import CorpusConfig
from sparsemeta.lm.text.sources import Document, read_dataset, read_paths, read_stdlib

# An article's first line stands between blank ones. Without that, lines of tables and formulas
# such as ` = 7 / 2 = ` would count as titles: WikiText-2 has 600, 60 and 60 articles.
_HEADING = re.compile(r"(?:\A|^ \n)( = (?!= )(.+) = \n)(?= \n)", re.MULTILINE)


def read_documents(sources: Sequence[str], config: CorpusConfig) -> list[Document]:
    """Read texts, in the order given.

    Args:
        sources: as above. Folders are read recursively in the order of their paths, globs in
            sorted order, both without what is hidden. Documents without text are left out.
        config: which files of a folder are text; which field of a line or row is; and whether
            files are cut into WikiText articles.

    Raises:
        CorpusError: a source is missing or holds no text, a file is not UTF-8, or a line of a
            .jsonl file or a dataset has no such field of text.
        MissingExtra: a dataset is named and `datasets` is not installed.
    """
    found = [document for source in sources for document in _read_source(source, config)]
    if config.wikitext:
        return [article for document in found for article in split_articles(document)]
    return found


def split_articles(document: Document) -> list[Document]:
    """Cut a WikiText file before each level-one heading, ` = Title = ` between blank lines.

    Returns:
        Articles named `file#Title`, whose texts joined are the file's. What stands before the first
        heading belongs to the first article; a document without headings stays whole.
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


def _read_source(source: str, config: CorpusConfig) -> list[Document]:
    if source == "stdlib":
        return read_stdlib()
    if source.startswith("hf:"):
        return read_dataset(source.removeprefix("hf:"), config.field)
    return read_paths(source, config)
