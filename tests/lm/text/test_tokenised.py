import errno
import hashlib
import io
import itertools
import json
import os
import resource
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import CorpusError
from sparsemeta.lm.config import TokenizerConfig
from sparsemeta.lm.text import tokenised
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenised import Entry, tokenise
from sparsemeta.lm.text.tokenizer import ByteTokenizer, WordTokenizer, train_tokenizer
from sparsemeta.run import Progress

QUIET = Progress(quiet=True)
DOCUMENTS = [Document(name, name * 5) for name in ("a", "bb", "naïve", "d")]
BYTES = ByteTokenizer()


@pytest.fixture(autouse=True)
def _document_by_document(monkeypatch):
    monkeypatch.setattr(tokenised, "_CHARACTERS_AT_ONCE", 1)


def by_hand(documents=DOCUMENTS):
    return list(itertools.chain(*([256, *document.text.encode()] for document in documents)))


def content(folder):
    """The files of a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_tokens_documents_and_fingerprint(tmp_path):
    corpus = tokenise(DOCUMENTS, BYTES, tmp_path / "new" / "corpus", QUIET)
    assert corpus.tokens.tolist() == by_hand()
    assert isinstance(corpus.tokens, np.memmap)
    assert not corpus.tokens.flags.writeable
    assert [entry.end for entry in corpus.documents] == [6, 17, 48, 54]
    digest = hashlib.sha256(DOCUMENTS[2].text.encode()).hexdigest()
    assert corpus.documents[2] == Entry("naïve", 30, digest)
    assert sorted(content(tmp_path / "new" / "corpus")) == ["manifest.jsonl", "tokens.bin"]


@pytest.mark.parametrize(
    ("vocabulary", "dtype"), [(256, "uint8"), (257, "uint16"), (65536, "uint16"), (65537, "uint32")]
)
def test_the_smallest_type_that_fits_the_vocabulary(tmp_path, vocabulary, dtype):
    words = ["<eos>", "<unk>", *map(str, range(2, vocabulary))]
    documents = [Document("numbers", f"2 {vocabulary - 1}\n")]
    corpus = tokenise(documents, WordTokenizer(words), tmp_path, QUIET)
    assert corpus.tokens.dtype == dtype
    assert corpus.tokens.tolist() == [0, 2, vocabulary - 1, 0]
    assert (tmp_path / "tokens.bin").stat().st_size == 4 * np.dtype(dtype).itemsize


def test_what_is_there_is_opened_and_not_written(tmp_path, monkeypatch):
    first = tokenise(DOCUMENTS, BYTES, tmp_path, QUIET)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.iterdir())}
    monkeypatch.setattr(ByteTokenizer, "_encode", None)
    again = tokenise(DOCUMENTS, BYTES, tmp_path, QUIET, expected=first.fingerprint)
    assert again.tokens.tolist() == first.tokens.tolist()
    assert (again.documents, again.fingerprint) == (first.documents, first.fingerprint)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path, *tmp_path.iterdir())} == before


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at_once", [1, 12])
@pytest.mark.parametrize("moment", range(1, 9))
def test_killed_at_any_wait_for_the_disk_and_gone_on(tmp_path, monkeypatch, moment, at_once):
    monkeypatch.setattr(tokenised, "_CHARACTERS_AT_ONCE", at_once)
    whole = tokenise(DOCUMENTS, BYTES, tmp_path / "whole", QUIET)
    sync, count = os.fsync, itertools.count(1)

    def kill(handle):
        sync(handle)
        if next(count) == moment:
            raise Killed

    with monkeypatch.context() as patch, suppress(Killed):
        patch.setattr(os, "fsync", kill)
        tokenise(DOCUMENTS, BYTES, tmp_path / "killed", QUIET)
    corpus = tokenise(DOCUMENTS, BYTES, tmp_path / "killed", QUIET)
    assert corpus.tokens.tolist() == whole.tokens.tolist()
    assert content(tmp_path / "killed") == content(tmp_path / "whole")


TEXTS = st.lists(st.text(max_size=6), min_size=1, max_size=5)


@settings(deadline=None, derandomize=True, max_examples=25)
@given(texts=TEXTS, others=TEXTS, cut=st.integers(0, 400), tokens_cut=st.integers(0, 60))
def test_whatever_is_left_of_whatever_text_the_result_is_the_same(
    tmp_path_factory, texts, others, cut, tokens_cut
):
    documents, other = ([Document("x", text) for text in part] for part in (texts, others))
    folder, fresh = tmp_path_factory.mktemp("left"), tmp_path_factory.mktemp("fresh")
    tokenise(other, BYTES, folder, QUIET)
    for name, size in (("manifest.jsonl", cut), ("tokens.bin", tokens_cut)):
        os.truncate(folder / name, min(size, (folder / name).stat().st_size))
    corpus = tokenise(documents, BYTES, folder, QUIET)
    assert corpus.tokens.tolist() == by_hand(documents)
    tokenise(documents, BYTES, fresh, QUIET)
    assert content(folder) == content(fresh)


def watched(monkeypatch):
    """The list that texts are put on when they are tokenised from now on."""
    seen, encode = [], ByteTokenizer._encode

    def watch(self, texts, data):
        seen.extend(texts)
        return encode(self, texts, data)

    monkeypatch.setattr(ByteTokenizer, "_encode", watch)
    return seen


def test_only_what_is_missing_is_tokenised(tmp_path, monkeypatch):
    tokenise(DOCUMENTS, BYTES, tmp_path, QUIET)
    seen = watched(monkeypatch)
    changed = [*DOCUMENTS[:2], Document("naïve", "changed"), DOCUMENTS[3]]
    corpus = tokenise(changed, BYTES, tmp_path, QUIET)
    assert seen == ["changed", "ddddd"]
    assert corpus.tokens.tolist() == by_hand(changed)
    fewer = tokenise(DOCUMENTS[:1], BYTES, tmp_path, QUIET)
    assert seen == ["changed", "ddddd"]
    assert fewer.tokens.tolist() == by_hand(DOCUMENTS[:1])
    assert (tmp_path / "tokens.bin").stat().st_size == 12


def test_another_tokenizer_tokenises_anew(tmp_path):
    first = tokenise(DOCUMENTS, BYTES, tmp_path, QUIET)
    words = train_tokenizer(TokenizerConfig(kind="words"), DOCUMENTS)
    corpus = tokenise(DOCUMENTS, words, tmp_path, QUIET)
    assert corpus.tokens.tolist() == [0, 2, 0, 3, 0, 4, 0, 5]
    assert corpus.fingerprint != first.fingerprint


NEW = Document("e", "new")


@pytest.mark.parametrize(
    ("documents", "problem"),
    [
        ([*DOCUMENTS[:2], Document("naïve", "x"), DOCUMENTS[3]], "naïve: changed since it was"),
        ([Document("a", "aaaab"), *DOCUMENTS[1:]], "a: changed since it was tokenised"),
        ([*DOCUMENTS, NEW], "e: was added since the text was tokenised"),
        (DOCUMENTS[:3], "d: is gone since the text was tokenised"),
        (DOCUMENTS[1:], "bb: stands where a was when the text was tokenised"),
        ([*DOCUMENTS[:2], DOCUMENTS[3], DOCUMENTS[2]], "d: stands where naïve was when"),
    ],
)
def test_text_that_changed_is_named_when_training_goes_on(tmp_path, documents, problem):
    first = tokenise(DOCUMENTS, BYTES, tmp_path, QUIET)
    before = content(tmp_path)
    with pytest.raises(CorpusError, match=f"^{problem}.*Put the text back, begin anew with --res"):
        tokenise(documents, BYTES, tmp_path, QUIET, expected=first.fingerprint)
    assert content(tmp_path) == before
    assert tokenise(documents, BYTES, tmp_path, QUIET).tokens.tolist() == by_hand(documents)


def test_without_its_manifest_changed_text_is_refused_and_the_right_text_tokenised(tmp_path):
    expected = tokenise(DOCUMENTS, BYTES, tmp_path, QUIET).fingerprint
    tokenise(DOCUMENTS[1:], BYTES, tmp_path, QUIET)  # somebody began anew and was killed
    with pytest.raises(CorpusError, match=r"^the training text is not the one"):
        tokenise(DOCUMENTS[1:], BYTES, tmp_path, QUIET, expected=expected)
    (tmp_path / "manifest.jsonl").unlink()
    with pytest.raises(CorpusError, match=r"^the training text is not the one"):
        tokenise(DOCUMENTS[1:], BYTES, tmp_path, QUIET, expected=expected)
    corpus = tokenise(DOCUMENTS, BYTES, tmp_path, QUIET, expected=expected)
    assert corpus.tokens.tolist() == by_hand()


def test_moved_files_are_the_same_text(tmp_path):
    first = tokenise(DOCUMENTS, BYTES, tmp_path, QUIET)
    moved = [Document(f"elsewhere/{document.name}", document.text) for document in DOCUMENTS]
    corpus = tokenise(moved, BYTES, tmp_path, QUIET, expected=first.fingerprint)
    assert corpus.tokens.tolist() == first.tokens.tolist()
    assert corpus.documents[0] == Entry("elsewhere/a", 5, first.documents[0].sha256)
    with pytest.raises(CorpusError, match=r"^elsewhere/d: is gone since"):
        tokenise(moved[:3], BYTES, tmp_path, QUIET, expected=first.fingerprint)


def test_a_full_disk_says_so_and_what_was_written_is_kept(tmp_path, monkeypatch):
    folder = tmp_path / "corpus"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, hard))  # some lines of the manifest
    try:
        with pytest.raises(
            CorpusError, match=r"corpus: the tokens cannot be written \(File too.*M"
        ):
            tokenise(DOCUMENTS, BYTES, folder, QUIET)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    kept = (folder / "manifest.jsonl").read_text().splitlines()
    assert json.loads(kept[1])["name"] == "a"
    seen = watched(monkeypatch)
    assert tokenise(DOCUMENTS, BYTES, folder, QUIET).tokens.tolist() == by_hand()
    assert 0 < len(seen) < 4


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"file/corpus: the tokens cannot be written \(Not a dir"):
        tokenise(DOCUMENTS, BYTES, tmp_path / "file" / "corpus", QUIET)


def test_a_disk_that_fails_while_waiting_for_it(tmp_path, monkeypatch):
    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CorpusError, match=r"cannot be written \(No space left on device\)"):
        tokenise(DOCUMENTS, BYTES, tmp_path, QUIET)


def test_progress_is_told_after_one_two_four_seconds(tmp_path, monkeypatch):
    clock = itertools.count(0, 0.7)
    monkeypatch.setattr(tokenised.time, "monotonic", lambda: next(clock))
    stream = io.StringIO()
    documents = [Document(str(n), "text") for n in range(8)]
    corpus = tokenise(documents, BYTES, tmp_path, Progress(stream=stream))
    assert len(corpus.documents) == 8
    assert stream.getvalue().splitlines() == [f"tokenised {n} of 8 documents" for n in (2, 3, 6)]
