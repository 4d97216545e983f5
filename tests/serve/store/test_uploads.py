"""An upload is a memory of this model, or refused in words. By hand: SPARSEMETA_UPLOADS=10000."""

import json
import os
import subprocess
import sys
import tempfile

import pytest

from sparsemeta.errors import StateError
from tests.serve.store.made import FAST, blueprint, content, open_store

UPLOADS = os.environ.get("SPARSEMETA_UPLOADS", "2000")


def test_thousands_of_bad_uploads_under_a_ceiling_of_memory():
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        command = [sys.executable, "-m", "tests.serve.store.uploading", folder, UPLOADS]
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["refused"] + found["taken"] == int(UPLOADS)
    assert found["taken"] < 0.1 * int(UPLOADS)  # where a byte is put on the same, or a true one is
    assert found["left"] == 0
    assert found["grown"] < 2**27
    assert not [words for words in found["words"] if not words.startswith("the upload: ")]
    assert not [words for words in found["words"] if "alloc" in words]  # nobody even tried


def test_what_is_downloaded_here_goes_on_elsewhere(tmp_path):
    made = content(blueprint(), 5)
    with open_store(tmp_path / "here") as here, open_store(tmp_path / "there") as there:
        head = here.upload("ann", here.default("ann").id, made).head
        there.default("bob")
        data = here.content("ann", head.id)
        found = there.upload("bob", "default", data).head
        assert (found.blob, found.kind, found.position) == (head.blob, "upload", 0)
        assert there.content("bob", found.id) == made


def test_a_refused_upload_leaves_nothing(tmp_path):
    with open_store(tmp_path) as store:
        memory = store.default("ann")
        before = sorted(path.name for path in store._blobs.folder.iterdir())
        with pytest.raises(StateError, match="the upload: damaged or not a memory file"):
            store.upload("ann", memory.id, b"not a memory")
        assert store.default("ann") == memory
        assert sorted(path.name for path in store._blobs.folder.iterdir()) == before


def test_what_a_bad_upload_says_of_itself_is_told_in_short(tmp_path):
    header = b'{"__metadata__":{"format":"%s"}}' % (b"x" * 10_000)
    upload = len(header).to_bytes(8, "little") + header
    with open_store(tmp_path) as store:
        memory = store.default("ann").id
        with pytest.raises(StateError, match="not a memory of this version") as error:
            store.upload("ann", memory, upload)
    assert len(str(error.value)) < 600
