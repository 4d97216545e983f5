import json
import re
import sys
import sysconfig
from types import SimpleNamespace

import pytest
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import CorpusError, MissingExtra
from sparsemeta.lm.config import CorpusConfig
from sparsemeta.lm.text.corpus import Document, read_documents, split_articles, split_holdout

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


def test_globs_are_sorted_and_skip_what_is_hidden_or_empty(folder):
    base = folder.as_posix()
    names = [document.name for document in read_documents([f"{base}/**/*.txt"], CONFIG)]
    assert names == [f"{base}/a/z.txt", f"{base}/b.txt"]
    names = [document.name for document in read_documents([f"{base}/[a-b]*"], CONFIG)]
    assert names == [f"{base}/b.txt"]  # folders that match are no files
    names = [document.name for document in read_documents([f"{base}/*.log"], CONFIG)]
    assert names == [f"{base}/notes.log"]


@pytest.mark.parametrize("pattern", ["*.csv", "empt?.txt", "[ab]"])
def test_glob_that_matches_no_text(folder, pattern):
    with pytest.raises(CorpusError, match=rf"{re.escape(pattern)}: matches no file with text"):
        read_documents([str(folder / pattern)], CONFIG)


def test_file_whose_name_looks_like_a_glob(tmp_path):
    path = tmp_path / "a[1].txt"
    path.write_text("text")
    assert read_documents([str(path)], CONFIG) == [Document(path.as_posix(), "text")]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "texts.jsonl"
    rows = [{"text": "one\u2028line\n", "title": "One"}, {"text": " "}, {"text": "three"}]
    path.write_text("\n\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n")
    return path


def test_a_line_of_json_is_a_document(lines):
    documents = read_documents([str(lines)], CONFIG)
    assert documents == [
        Document(f"{lines.as_posix()}#1", "one\u2028line\n"),
        Document(f"{lines.as_posix()}#5", "three"),
    ]
    assert read_documents([str(lines.parent / "*.jsonl")], CONFIG) == documents
    everything = CorpusConfig(suffixes=(".jsonl",))
    assert read_documents([str(lines.parent)], everything) == documents


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('{"text": "x"', "line 2 is not JSON .*Correct it"),
        ('"text"', "line 2 has no field 'text', nor any other.*corpus.field"),
        ('{"body": "x", "id": 1}', r"line 2 has no field 'text', only body, id\. Set corpus.field"),
        ('{"text": ["x"]}', r"line 2 has no text in 'text' but \['x'\]\. "),
        ('{"text": null}', "line 2 has no text in 'text' but None"),
        (r'{"text": "ab\ud800"}', "line 2 has a lone surrogate at character 2 of 'text'"),
    ],
)
def test_unusable_line_of_json(tmp_path, line, problem):
    path = tmp_path / "texts.jsonl"
    path.write_text(f'{{"text": "good"}}\n{line}\n')
    with pytest.raises(CorpusError, match=rf"texts\.jsonl: {problem}"):
        read_documents([str(path)], CONFIG)


def test_field_of_json(lines):
    config = CorpusConfig(field="title")
    with pytest.raises(CorpusError, match="line 3 has no field 'title', only text"):
        read_documents([str(lines)], config)
    lines.write_text('{"title": "", "text": "x"}\n')
    with pytest.raises(CorpusError, match=r"texts\.jsonl: is empty"):
        read_documents([str(lines)], config)


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """A local dataset with two splits, entered; datasets are cached beside it."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    rows = {"train": ["first", " ", "third\n"], "test": ["fourth"]}
    (tmp_path / "set").mkdir()
    for split, texts in rows.items():
        lines = [json.dumps({"text": text, "n": i}) for i, text in enumerate(texts)]
        (tmp_path / "set" / f"{split}.jsonl").write_text("\n".join(lines) + "\n")
    return "hf:set"


def test_a_row_of_a_dataset_is_a_document(dataset):
    train = [Document("hf:set#0", "first"), Document("hf:set#2", "third\n")]
    assert read_documents([dataset], CONFIG) == train
    test = [Document("hf:set:test#0", "fourth")]
    assert read_documents([f"{dataset}:test", dataset], CONFIG) == test + train
    (part,) = read_documents([f"{dataset}:train[:1]"], CONFIG)
    assert part == Document("hf:set:train[:1]#0", "first")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("hf:set:valid", "cannot be loaded .*valid.*hf:OWNER/NAME/CONFIG:SPLIT"),
        ("hf:nobody/nothing", "cannot be loaded .*nobody/nothing"),
        ("hf:", "cannot be loaded"),
        ("hf:set:train[1:2]", "no row has text in 'text'"),
    ],
)
def test_unusable_dataset(dataset, source, problem):
    with pytest.raises(CorpusError, match=rf"{re.escape(source)}: {problem}"):
        read_documents([source], CONFIG)


@pytest.mark.parametrize(("field", "problem"), [("body", "no field 'body'"), ("n", "no text in")])
def test_unusable_column(dataset, field, problem):
    with pytest.raises(CorpusError, match=rf"hf:set#0 has {problem}.*corpus\.field"):
        read_documents([dataset], CorpusConfig(field=field))


@pytest.mark.parametrize(
    ("source", "asked"),
    [
        ("hf:owner/name", (("owner/name",), {"split": "train"})),
        ("hf:owner/name/config:test", (("owner/name", "config"), {"split": "test"})),
        ("hf:owner/name/a/b:train[:9%]", (("owner/name", "a/b"), {"split": "train[:9%]"})),
        ("hf:name", (("name",), {"split": "train"})),
    ],
)
def test_name_configuration_and_split_of_a_dataset(monkeypatch, source, asked):
    def load_dataset(*names, **options):
        raise ValueError(repr((names, options)))

    monkeypatch.setattr("sparsemeta.errors.installed", lambda package: True)
    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    with pytest.raises(CorpusError, match=re.escape(repr(asked))):
        read_documents([source], CONFIG)


def test_datasets_are_an_extra(monkeypatch):
    monkeypatch.setattr("sparsemeta.errors.installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"pip install 'sparsemeta\[data\]'"):
        read_documents(["hf:owner/name"], CONFIG)


WIKITEXT = """
 = One ( song ) =

 Text 1 .
 = 7 / 2 =

 = = Part = =

 More .

 = Empty =

 = Two =

 Text .
""".replace("\n", " \n")


def test_wikitext_is_cut_at_its_headings(tmp_path):
    path = tmp_path / "wiki.tokens"
    path.write_text(WIKITEXT)
    articles = read_documents([str(path)], CorpusConfig(wikitext=True))
    assert [article.name.split("#")[1] for article in articles] == ["One ( song )", "Empty", "Two"]
    assert articles[0].text.startswith(" \n = One ( song ) = \n")
    assert articles[1].text == " = Empty = \n \n"
    assert articles[2].text == " = Two = \n \n Text . \n"
    assert read_documents([str(path)], CorpusConfig()) == [Document(path.as_posix(), WIKITEXT)]


LINES = st.sampled_from(
    [" ", "", " = A = ", " = B = ", " = = C = = ", " = = D = ", "= E =", "text"]
)


@settings(deadline=None, derandomize=True)
@given(st.lists(LINES).map("\n".join))
def test_articles_join_into_the_file(text):
    articles = split_articles(Document("file", text))
    assert "".join(article.text for article in articles) == text
    headings = [number for number, _ in enumerate(articles) if articles[number].name != "file"]
    assert len(headings) in (0, len(articles))
    for article in articles[1:]:
        title = article.name.removeprefix("file#")
        assert article.text.startswith(f" = {title} = \n \n")
        assert title in "AB"


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
