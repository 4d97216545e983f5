import pytest

from sparsemeta.cli.output import require_writable, write_aside
from sparsemeta.errors import ConfigError


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail():
        with write_aside(path) as aside:
            assert aside.suffix == ".json"
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    with write_aside(path) as aside:
        aside.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_are_made_and_nothing_else(tmp_path):
    path = tmp_path / "deep" / "er" / "a.json"
    require_writable(path)
    assert list(path.parent.iterdir()) == []


def test_what_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a folder"):
        require_writable(tmp_path)
    with pytest.raises(ConfigError, match=r"file/a\.json: cannot be written \(.*\)\. Choose"):
        require_writable(tmp_path / "file" / "a.json")
