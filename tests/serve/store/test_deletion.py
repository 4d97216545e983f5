"""What was deleted is in no file."""

import random

import numpy as np
import pytest

from sparsemeta.errors import NotFoundError
from sparsemeta.serve.store import Retry, Step
from sparsemeta.serve.store.database import ERASED, Database
from tests.serve.store.made import blueprint, content, open_store

MADE = blueprint()


def everything(folder):
    """All bytes of all files."""
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def fill(store, count):
    """Many memories, and what can be recognised of each; versions of all are interleaved."""
    draw, marks = random.Random(0), {}
    for number in range(count):
        name = f"SECRET-NAME-{number:03d}"
        marks[name] = [name.encode()]
        store.create("ann", name)
    for number in range(4 * count):
        name = draw.choice(sorted(marks))
        head = store.memory("ann", name).head.id
        tokens = [draw.randrange(2**31) for _ in range(6)]
        made = content(MADE, number)
        step = Step(
            head,
            made,
            tokens,
            moves=head,
            response=f"SECRET-RESPONSE-{number}-",
            result=b"SECRET-ANSWER-%d-" % number,
            about={"note": f"SECRET-ABOUT-{number}-" * draw.randrange(20)},
            retry=Retry(b"SECRET-BODY", key=f"SECRET-KEY-{number}-"),
        )
        version = store.commit("ann", name, step).version
        marks[name] += [np.asarray(tokens, "<i4").tobytes(), made[-40:], version.id.encode()]
        marks[name] += [version.blob.encode(), version.response.encode(), step.result]
    return marks


def test_nothing_is_left(tmp_path):
    with open_store(tmp_path) as store:
        marks = fill(store, 40)
        gone, kept = sorted(marks)[:10], sorted(marks)[10:]
        found = everything(tmp_path)
        assert all(mark in found for name in marks for mark in marks[name])
        for name in gone:
            store.delete("ann", name)
            found = everything(tmp_path)  # now, and not at some later time
            assert not [mark for mark in marks[name] if mark in found]
        assert b"SECRET-BODY" not in found
        assert b"SECRET-KEY" not in found
        assert all(mark in found for name in kept for mark in marks[name])
        assert not list(tmp_path.glob("blobs/.*"))
    found = everything(tmp_path)
    assert not [mark for name in gone for mark in marks[name] if mark in found]


def test_what_a_fork_grew_from_stays_as_long_as_it(tmp_path):
    with open_store(tmp_path) as store:
        store.create("ann", "notes")
        versions = []
        for number in range(4):
            head = store.memory("ann", "notes").head.id
            step = Step(head, content(MADE, number), [number], moves=head)
            versions.append(store.commit("ann", "notes", step).version)
        store.fork("ann", versions[1].id, "fork")
        store.delete("ann", "notes")
        left = store.versions("ann", "fork").items
        assert [one.id for one in left][:2] == [versions[1].id, versions[0].id]
        assert {one.memory for one in left} == {None}
        assert store.content("ann", versions[1].id) == content(MADE, 1)
        assert store.tail("ann", versions[1].id, 9) == [0, 1]
        with pytest.raises(NotFoundError):
            store.version("ann", versions[2].id)
        store.undo("ann", "fork")
        store.delete("ann", "fork")
        assert store.usage("ann").versions == 0
        assert not list(store._blobs.folder.iterdir())


def test_what_two_owners_have_alike_stays_with_the_other(tmp_path):
    with open_store(tmp_path) as store:
        for owner in ("ann", "bob"):
            store.create(owner, "notes")
            store.upload(owner, "notes", content(MADE, 1))
        store.delete("ann", "notes")
        head = store.memory("bob", "notes").head.id
        assert store.content("bob", head) == content(MADE, 1)


def test_a_kill_between_deleting_and_scrubbing_leaves_nothing_after_the_next_start(
    tmp_path, monkeypatch
):
    with open_store(tmp_path) as store:
        marks = fill(store, 30)
        with monkeypatch.context() as without:
            without.setattr(Database, "erased", lambda self: None)
            for name in sorted(marks)[:9]:
                store.delete("ann", name)
        assert store._database.fact(ERASED) is not None
        monkeypatch.setattr(Database, "_scrub", lambda self: None)  # as if it was not closed
    monkeypatch.undo()
    with open_store(tmp_path) as store:
        assert store._database.fact(ERASED) is None
        found = everything(tmp_path)
        assert not [mark for name in sorted(marks)[:9] for mark in marks[name] if mark in found]


def test_a_large_database_is_scrubbed_when_it_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr("sparsemeta.serve.store.database.LARGE", 0)
    with open_store(tmp_path) as store:
        marks = fill(store, 30)
        for name in sorted(marks)[:9]:
            store.delete("ann", name)
        found = b"".join(path.read_bytes() for path in (tmp_path / "blobs").iterdir())
        assert not [mark for name in sorted(marks)[:9] for mark in marks[name] if mark in found]
        assert (tmp_path / "store.db-wal").stat().st_size == 0
    found = everything(tmp_path)
    assert not [mark for name in sorted(marks)[:9] for mark in marks[name] if mark in found]
