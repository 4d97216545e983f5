import sysconfig

import pytest

from sparsemeta.errors import CorpusError
from sparsemeta.lm.config import CorpusConfig
from sparsemeta.lm.corpus import Document, read_documents, split_holdout

CONFIG = CorpusConfig(suffixes=(".txt", ".py"))


@pytest.fixture
def folder(tmp_path):
    files = {
        "b.txt": b"second",
        "a/z.txt": b"first\r\n",
        "a.b/c.py": b"zeroth",
        "notes.log": b"not text",
        "empty.txt": b" \n",
        ".hidden/x.txt": b"not seen",
    }
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_folder_is_read_in_path_order(folder):
    documents = read_documents([str(folder)], CONFIG)
    base = folder.as_posix()
    assert documents == [
        Document(f"{base}/a.b/c.py", "zeroth"),
        Document(f"{base}/a/z.txt", "first\r\n"),
        Document(f"{base}/b.txt", "second"),
    ]


def test_files_are_read_in_the_order_given_whatever_their_suffix(folder):
    sources = [str(folder / "notes.log"), str(folder / "b.txt")]
    documents = read_documents(sources, CONFIG)
    assert [document.text for document in documents] == ["not text", "second"]
    assert documents[0].name == (folder / "notes.log").as_posix()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        (b"ab\0c", r"is binary \(NUL at byte 2\)"),
        (b"one\ntwo\nth\xffree", "is not UTF-8 at byte 10, line 3"),
        (b"cut \xc3", "is not UTF-8 at byte 4, line 1"),
    ],
)
def test_unusable_file(tmp_path, data, message):
    path = tmp_path / "text.txt"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=rf"text\.txt: {message}"):
        read_documents([str(path)], CONFIG)


def test_unusable_file_inside_a_folder_is_named(folder):
    (folder / "a" / "bad.txt").write_bytes(b"\xff")
    with pytest.raises(CorpusError, match=r"a/bad\.txt: is not UTF-8"):
        read_documents([str(folder)], CONFIG)


def test_missing_source():
    with pytest.raises(CorpusError, match=r"nowhere\.txt: cannot be read .*Check the path"):
        read_documents(["nowhere.txt"], CONFIG)


def test_folder_without_text(folder):
    with pytest.raises(CorpusError, match=r"no file with text .* \.csv, \.tsv.*corpus\.suffixes"):
        read_documents([str(folder)], CorpusConfig(suffixes=(".csv", ".tsv")))


def test_standard_library_is_code_only():
    documents = read_documents(["stdlib"], CONFIG)
    names = [document.name for document in documents]
    assert names == sorted(names)
    assert {"stdlib/json/decoder.py", "stdlib/argparse.py"} <= set(names)
    left_out = ("encodings", "pydoc_data", "idlelib", "lib2to3", "site-packages", "test", "tests")
    assert not [name for name in names if set(name.split("/")) & set(left_out)]
    assert 5e6 < sum(len(document.text) for document in documents) < 12e6


def test_standard_library_without_source(monkeypatch, tmp_path):
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path / "python.zip"))
    with pytest.raises(CorpusError, match=r"python\.zip: .*Name files or folders of your own"):
        read_documents(["stdlib"], CONFIG)


DOCUMENTS = [Document(name, "text") for name in ("lib/json/a.py", "lib/json/b.py", "lib/a.py", "c")]


@pytest.mark.parametrize(
    ("patterns", "heldout"),
    [
        ((), []),
        (("a.py",), [0, 2]),
        (("lib/a.py",), [2]),
        (("json/*",), [0, 1]),
        (("lib/*",), [0, 1, 2]),
        (("c", "*/b.py"), [1, 3]),
    ],
)
def test_holdout_by_name_or_glob(patterns, heldout):
    train, held = split_holdout(DOCUMENTS, patterns)
    assert held == [DOCUMENTS[i] for i in heldout]
    assert train == [document for document in DOCUMENTS if document not in held]


def test_holdout_that_matches_nothing():
    with pytest.raises(CorpusError, match=r"'son/a\.py' matches none of the 4 documents"):
        split_holdout(DOCUMENTS, ["c", "son/a.py"])


def test_holdout_of_everything():
    with pytest.raises(CorpusError, match="every document is held out"):
        split_holdout(DOCUMENTS, ["*"])
