import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import pytest

from sparsemeta import files
from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.files import (
    DIGESTS,
    check_folder,
    require_writable,
    write_file,
    write_folder,
    write_new,
    write_text,
)


def contents(folder):
    return {
        str(p.relative_to(folder)): p.read_text()
        for p in folder.rglob("*")
        if p.is_file() and p.name != DIGESTS
    }


def test_write_folder_replaces_the_whole_folder(tmp_path):
    path = tmp_path / "runs" / "model"
    with write_folder(path) as aside:
        (aside / "a").write_text("1")
    with write_folder(path) as aside:
        (aside / "b").write_text("2")
        assert contents(path) == {"a": "1"}
    assert contents(path) == {"b": "2"}
    assert os.listdir(path.parent) == ["model"]


def test_write_folder_that_fails_changes_nothing(tmp_path):
    path = tmp_path / "model"
    with write_folder(path) as aside:
        (aside / "a").write_text("1")

    def interrupted():
        with write_folder(path) as aside:
            (aside / "a").write_text("2")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert contents(tmp_path) == {"model/a": "1"}


def test_write_folder_first_brings_back_what_a_kill_put_aside(tmp_path):
    path = tmp_path / "model"
    with write_folder(path) as aside:
        (aside / "a").write_text("1")
    path.rename(tmp_path / ".model.old")
    with write_folder(path):
        assert contents(path) == {"a": "1"}


KILLED_EVERYWHERE = """
    import os, shutil, sys
    from pathlib import Path
    from sparsemeta import files, run as engine
    from sparsemeta.run import checkpoints

    watched = (files.__file__, checkpoints.__file__, shutil.__file__, __file__)
    os.fsync = lambda handle: None  # a killed process, unlike a power cut, does not need it

    def write(path, text):
        with files.write_folder(path) as aside:
            (aside / "a").write_text(text)
            (aside / "b").write_text(text)

    def replace(root):
        write(root / "model", "new")

    def discard(root):
        engine.prune(root / "steps", keep=1)

    def killed_at_line(number, work, root):
        lines = 0
        def count(frame, event, _):
            nonlocal lines
            if frame.f_code.co_filename not in watched:
                return None
            lines += event == "line"
            if lines == number:
                os._exit(9)
            return count
        child = os.fork()
        if child == 0:
            sys.settrace(count)
            work(root)
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9

    def read(path):
        return {(p.name, p.read_text()) for p in path.iterdir()
                if p.name != files.DIGESTS}

    whole = {text: {("a", text), ("b", text)} for text in ("old", "new", "newer")}
    for work in (replace, discard):
        number, seen = 1, set()
        while True:
            root = Path(sys.argv[1]) / f"{work.__name__}-{number}"
            for path in (root / "model", root / "steps/step-1", root / "steps/step-2"):
                write(path, "old")
            if not killed_at_line(number, work, root):
                break
            files.settle(root / "model")
            after = read(root / "model")
            assert after in (whole["old"], whole["new"]), (number, after)
            for path in engine.step_folders(root / "steps"):
                assert read(path) == whole["old"], (number, path)
            seen.add((("a", "new") in after, len(engine.step_folders(root / "steps"))))
            write(root / "model", "newer")
            engine.prune(root / "steps", keep=1)
            assert read(root / "model") == whole["newer"]
            assert os.listdir(root / "steps") == ["step-2"]
            assert sorted(os.listdir(root)) == ["model", "steps"], number
            number += 1
        assert len(seen) == 2, seen  # killed both before and after the change took effect
    print("survived")
"""


def test_a_kill_at_any_line_leaves_whole_folders(tmp_path):
    script = tmp_path / "kill.py"
    script.write_text(textwrap.dedent(KILLED_EVERYWHERE))
    done = subprocess.run(
        [sys.executable, script, tmp_path / "data"], capture_output=True, text=True
    )
    assert done.stdout == "survived\n", done.stderr


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail():
        with write_file(path) as aside:
            assert aside.suffix == ".json"
            aside.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    with write_file(path) as aside:
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


def test_threads_that_write_one_file_leave_what_one_of_them_wrote(tmp_path):
    path = tmp_path / "a.txt"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: write_text(path, str(n) * 10_000), range(8)))
    text = path.read_text()
    assert len(text) == 10_000
    assert len(set(text)) == 1
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_was_changed_is_refused(tmp_path):
    path = tmp_path / "model"
    with write_folder(path) as aside:
        (aside / "a").write_text("1")
    check_folder(path)
    (path / "a").write_text("2")
    with pytest.raises(CheckpointError, match="a: is not what was saved"):
        check_folder(path)
    (path / "a").unlink()
    with pytest.raises(CheckpointError, match="a: is missing"):
        check_folder(path)
    (path / DIGESTS).unlink()
    check_folder(path)


def test_what_another_machine_is_writing_is_left_alone(tmp_path):
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    ours = tmp_path / f".a.{files._HOST}.{done.pid}-1.part.txt"
    theirs = tmp_path / f".a.{'0' * 6}.{done.pid}-1.part.txt"
    for left in (ours, theirs):
        left.touch()
    write_text(tmp_path / "a.txt", "new")
    assert sorted(path.name for path in tmp_path.iterdir()) == [theirs.name, "a.txt"]


def test_files_named_by_what_they_hold_are_written_once(tmp_path, monkeypatch):
    write_new(tmp_path, {"a": b"1", "b": b"2"})
    before = (tmp_path / "a").stat().st_mtime_ns
    write_new(tmp_path, {"a": b"1"})
    assert (tmp_path / "a").stat().st_mtime_ns == before
    assert [(tmp_path / name).read_bytes() for name in sorted(os.listdir(tmp_path))] == [b"1", b"2"]

    def fail(path):
        raise RuntimeError

    monkeypatch.setattr(files, "sync", fail)
    with pytest.raises(RuntimeError):
        write_new(tmp_path, {"c": b"3"})
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
