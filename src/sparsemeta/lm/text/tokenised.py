"""Text tokenised once, into a memory map that training reads from.

    tokens.bin      the tokens of all documents, a separator before each
    manifest.jsonl  whose tokens they are: the tokenizer, then a line for each document

Tokens are on the disk before the manifest names their document. What a kill leaves in tokens.bin
beyond the manifest is cut off again, and tokenising goes on from there.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from sparsemeta.errors import CorpusError
from sparsemeta.files import write_text
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.run import Progress

FORMAT = 1
_TOKENS, _MANIFEST = "tokens.bin", "manifest.jsonl"
_CHARACTERS_AT_ONCE = 1 << 20  # then the disk is waited for: what a kill can cost


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


class Tokenised(NamedTuple):
    """A corpus as tokens: unsigned integers (tokens,), a separator before each document.

    They are a memory map, read only. The fingerprint is that of the tokenizer and of the texts.
    """

    tokens: np.ndarray
    documents: tuple[Entry, ...]
    fingerprint: str


def tokenise(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    folder: Path,
    progress: Progress,
    *,
    expected: str | None = None,
) -> Tokenised:
    """Tokenise documents into a folder, or open what is there already.

    What is there is kept as far as it is of the same documents in the same order, by the same
    tokenizer. Where nothing is left to do, nothing is written.

    The folder is made if it is not there; one process at a time may write it. `expected` is the
    fingerprint that training began with, if it goes on.
    """
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    header = {"format": FORMAT, "tokenizer": tokenizer.fingerprint(), "dtype": dtype.name}
    wanted = [_describe(document) for document in documents]
    text = _fingerprint(header, wanted)
    found_header, found = _read_manifest(folder / _MANIFEST, folder / _TOKENS)
    if expected and text != expected:
        raise _changed(wanted, found if _fingerprint(found_header, found) == expected else wanted)

    pairs = zip(wanted, found, strict=False) if found_header == header else ()
    done = [old for _, old in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    if not len(done) == len(wanted) == len(found):
        texts = (document.text for document in documents)
        missing = list(zip(wanted, texts, strict=True))[len(done) :]
        try:
            _write(folder, header, done, missing, tokenizer, progress)
        except OSError as error:
            raise CorpusError(
                f"{folder}: the tokens cannot be written ({error.strerror}). Make room, or choose "
                "another --run. What was written is kept: tokenising will go on from there."
            ) from None
    tokens = np.memmap(folder / _TOKENS, dtype, mode="r", shape=(done[-1].end,))
    return Tokenised(tokens, tuple(done), text)


def _batches(missing: Iterable[tuple[Entry, str]]) -> Iterator[list[tuple[Entry, str]]]:
    """Texts to be tokenised at once."""
    batch, characters = [], 0
    for entry, text in missing:
        batch.append((entry, text))
        characters += len(text)
        if characters >= _CHARACTERS_AT_ONCE:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _write(
    folder: Path,
    header: dict[str, Any],
    done: list[Entry],
    missing: Sequence[tuple[Entry, str]],
    tokenizer: Tokenizer,
    progress: Progress,
) -> None:
    """Cut the files back to the documents done, then append; tells so after 1, 2, 4 ... seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    total, end, dtype = len(done) + len(missing), done[-1].end if done else 0, header["dtype"]
    write_text(folder / _MANIFEST, "".join(map(_line, [header, *map(asdict, done)])))
    with (
        (folder / _TOKENS).open("ab") as tokens,
        (folder / _MANIFEST).open("a", encoding="utf-8") as manifest,
    ):
        tokens.truncate(end * np.dtype(dtype).itemsize)
        began, due = time.monotonic(), 1.0
        for batch in _batches(missing):
            described, texts = zip(*batch, strict=True)
            entries = []
            for entry, ids in zip(described, tokenizer.encode_all(texts), strict=True):
                tokens.write(np.append(tokenizer.separator, ids).astype(dtype).tobytes())
                end += len(ids) + 1
                entries.append(replace(entry, end=end))
            _sync(tokens)
            manifest.writelines(_line(asdict(entry)) for entry in entries)
            _sync(manifest)
            done += entries
            if time.monotonic() - began >= due:
                due *= 2
                progress.message(f"tokenised {len(done):,} of {total:,} documents")


def _describe(document: Document) -> Entry:
    """The entry of a document that is yet to be tokenised."""
    data = document.text.encode("utf-8")
    return Entry(document.name, len(data), hashlib.sha256(data).hexdigest())


def _fingerprint(header: dict[str, Any], entries: Iterable[Entry]) -> str:
    """Hash of the tokenizer and of the texts in their order; names do not count."""
    hashes = [header.get("tokenizer", ""), *(entry.sha256 for entry in entries)]
    return hashlib.sha256("".join(hashes).encode("ascii")).hexdigest()


def _changed(wanted: Sequence[Entry], found: Sequence[Entry]) -> CorpusError:
    """The error that names the first document that is not what it was."""
    pairs = zip_longest(wanted, found)
    match next((p for p in pairs if not (all(p) and p[0].sha256 == p[1].sha256)), None):
        case None:
            what = "the training text is not the one that training began with"
        case None, then:
            what = f"{then.name}: is gone since the text was tokenised"
        case now, None:
            what = f"{now.name}: was added since the text was tokenised"
        case now, then if now.name == then.name:
            what = f"{now.name}: changed since it was tokenised"
        case now, then:
            what = f"{now.name}: stands where {then.name} was when the text was tokenised"
    return CorpusError(
        f"{what}. Put the text back, begin anew with --restart, or choose another --run."
    )


def _read_manifest(path: Path, tokens: Path) -> tuple[dict[str, Any], list[Entry]]:
    """The header, and the documents whose tokens are all in `tokens`; empty without a manifest."""
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


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record) + "\n"


def _sync(file: IO[Any]) -> None:
    """Wait until what was written to a file is on the disk."""
    file.flush()
    os.fsync(file.fileno())
