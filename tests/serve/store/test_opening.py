"""Who may open a store, and what is found then."""

import os
import sqlite3
import subprocess
import sys
import textwrap

import pytest

from sparsemeta import files
from sparsemeta.errors import StoreError
from sparsemeta.serve.store import Step, Store
from sparsemeta.serve.store.database import VERSION
from tests.serve.store.made import blueprint, content, open_store

MADE = blueprint()

OPEN = """
    import sys
    from sparsemeta.errors import StoreError
    from sparsemeta.serve.store import open_keys

    try:
        with open_keys(sys.argv[1]):
            print("opened")
    except StoreError as error:
        print(error)
"""


def opened_elsewhere(folder):
    """What another process is told that opens a store."""
    command = [sys.executable, "-c", textwrap.dedent(OPEN), folder]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_one_process_at_a_time(tmp_path):
    refusal = "this store is open in another process, most likely a server. Stop that first"
    with open_store(tmp_path):
        assert refusal in opened_elsewhere(tmp_path)
        with pytest.raises(StoreError, match=refusal):
            open_store(tmp_path)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            sqlite3.connect(tmp_path / "store.db", timeout=0).execute("SELECT * FROM keys")
    assert opened_elsewhere(tmp_path) == "opened\n"


def test_a_closed_store_says_so(tmp_path):
    store = open_store(tmp_path)
    store.close()
    with pytest.raises(StoreError, match="cannot be used"):
        store.default("ann")


def test_it_is_for_this_user_alone(tmp_path):
    folder = tmp_path / "a" / "store"
    with open_store(folder):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert (folder / "secret").stat().st_mode & 0o777 == 0o600
        assert len((folder / "secret").read_bytes()) == 32


def test_a_store_of_another_model(tmp_path):
    open_store(tmp_path).close()
    other = type(MADE)("another", MADE.layers, MADE.layouts)
    with pytest.raises(StoreError, match="another model's"):
        Store(tmp_path, other)
    open_store(tmp_path).close()  # it was let go


@pytest.mark.parametrize("change", [os.unlink, lambda path: path.write_bytes(bytes(32))])
def test_another_secret(tmp_path, change):
    open_store(tmp_path).close()
    change(tmp_path / "secret")
    with pytest.raises(StoreError, match="is not the secret of this store"):
        open_store(tmp_path)


def test_a_damaged_database(tmp_path):
    open_store(tmp_path).close()
    (tmp_path / "store.db").write_bytes(b"no database" * 1000)
    with pytest.raises(StoreError, match="cannot be used"):
        open_store(tmp_path)
    assert opened_elsewhere(tmp_path).count("cannot be used") == 1


def test_a_store_of_another_version(tmp_path):
    open_store(tmp_path).close()
    with sqlite3.connect(tmp_path / "store.db") as database:
        database.execute(f"PRAGMA user_version = {VERSION + 1}")
    database.close()
    with pytest.raises(StoreError, match=f"format {VERSION + 1}, expected {VERSION}"):
        open_store(tmp_path)


def test_a_place_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be used"):
        open_store(tmp_path / "file" / "store")


def test_what_no_version_names_is_swept(tmp_path):
    with open_store(tmp_path) as store:
        head = store.default("ann").head
        kept = {path.name for path in store._blobs.folder.iterdir()}
    for name in ("0" * 64, ".half.written.part"):
        (tmp_path / "blobs" / name).write_bytes(b"left by a kill")
    with open_store(tmp_path) as store:
        assert {path.name for path in store._blobs.folder.iterdir()} == kept
        assert store.version("ann", head.id) == head


def test_what_cannot_be_written_changes_nothing(tmp_path, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device")

    with open_store(tmp_path) as store:
        memory = store.default("ann")
        before = {path.name for path in store._blobs.folder.iterdir()}
        step = Step(memory.head.id, content(MADE, 1), [1], moves=memory.head.id)
        with monkeypatch.context() as without:
            without.setattr(files, "sync", full)
            with pytest.raises(StoreError, match="No space left on device"):
                store.commit("ann", memory.id, step)
        assert store.default("ann") == memory
        assert {path.name for path in store._blobs.folder.iterdir()} == before
        store.commit("ann", memory.id, step)


def test_files_are_on_the_disk_before_the_database_names_them(tmp_path, monkeypatch):
    """First each file, then their folder, and only then the transaction."""
    seen = []
    with open_store(tmp_path) as store:
        memory = store.default("ann")
        sync = files.sync
        monkeypatch.setattr(files, "sync", lambda path: (seen.append(path.suffix), sync(path)))
        store._database._connection.set_trace_callback(
            lambda query: seen.append("insert") if "INSERT INTO versions" in query else None
        )
        step = Step(memory.head.id, content(MADE, 1), [1], moves=memory.head.id)
        store.commit("ann", memory.id, step)
        (mode,) = store._database._connection.execute("PRAGMA synchronous").fetchone()
    assert seen == [".part", ".part", "", "insert"]
    assert mode == 2  # FULL
