"""What a folder of tokens holds: the tokenizer, then a line for each document."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from sparsemeta.errors import CorpusError
from sparsemeta.lm.text.corpus import Document


@dataclass(frozen=True)
class Entry:
    """A document's line of the manifest. Equal ones are of the same text under the same name."""

    name: str
    bytes: int
    """Size of its text in UTF-8."""
    sha256: str
    """Hash of that."""
    end: int = field(default=0, compare=False)
    """Where it ends in tokens.bin, in tokens."""


def describe(document: Document) -> Entry:
    """The entry of a document that is yet to be tokenised."""
    data = document.text.encode("utf-8")
    return Entry(document.name, len(data), hashlib.sha256(data).hexdigest())


def fingerprint(header: dict[str, Any], entries: Iterable[Entry]) -> str:
    """Hash of the tokenizer and of the texts in their order; names do not count."""
    hashes = [header.get("tokenizer", ""), *(entry.sha256 for entry in entries)]
    return hashlib.sha256("".join(hashes).encode("ascii")).hexdigest()


def changed(wanted: Sequence[Entry], found: Sequence[Entry]) -> CorpusError:
    """The error that names the first document that is not what it was."""
    what = "the training text is not the one that training began with"
    for now, then in zip_longest(wanted, found):
        if now and then and now.sha256 == then.sha256:
            continue
        if now is None:
            what = f"{then.name}: is gone since the text was tokenised"
        elif then is None:
            what = f"{now.name}: was added since the text was tokenised"
        elif now.name == then.name:
            what = f"{now.name}: changed since it was tokenised"
        else:
            what = f"{now.name}: stands where {then.name} was when the text was tokenised"
        break
    return CorpusError(
        f"{what}. Put the text back, begin anew with --restart, or choose another --run."
    )


def read_manifest(path: Path, tokens: Path) -> tuple[dict[str, Any], list[Entry]]:
    """The header, and the documents whose tokens are all in the file `tokens`.

    Both are empty if there is no manifest or it is not one.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
        header = json.loads(header)
        held = tokens.stat().st_size // np.dtype(header["dtype"]).itemsize
    except (OSError, ValueError, KeyError, TypeError):
        return {}, []
    entries: list[Entry] = []
    for line in lines:
        try:
            entry = Entry(**json.loads(line))
            if entry.end > held:
                break
        except (ValueError, TypeError):  # cut off by a kill
            break
        entries.append(entry)
    return header, entries
