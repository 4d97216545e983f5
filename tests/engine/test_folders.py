import os
import subprocess
import sys
import textwrap

import pytest

from sparsemeta.engine import newest, prune, step_folders, write_folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


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
    from sparsemeta import engine
    from sparsemeta.engine import folders

    os.fsync = lambda handle: None  # a killed process, unlike a power cut, does not need it

    def write(path, text):
        with engine.write_folder(path) as aside:
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
            if frame.f_code.co_filename not in (folders.__file__, shutil.__file__, __file__):
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
        return {(p.name, p.read_text()) for p in path.iterdir()}

    whole = {text: {("a", text), ("b", text)} for text in ("old", "new", "newer")}
    for work in (replace, discard):
        number, seen = 1, set()
        while True:
            root = Path(sys.argv[1]) / f"{work.__name__}-{number}"
            for path in (root / "model", root / "steps/step-1", root / "steps/step-2"):
                write(path, "old")
            if not killed_at_line(number, work, root):
                break
            engine.settle(root / "model")
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


def test_checkpoints_are_ordered_by_step_and_pruned(tmp_path):
    assert newest(tmp_path / "absent") is None
    for name in ("step-999999", "step-1000000", "step-000002", "step-x", ".step-000003.part"):
        (tmp_path / name).mkdir()
    assert newest(tmp_path) == tmp_path / "step-1000000"
    prune(tmp_path, keep=2)
    assert [p.name for p in step_folders(tmp_path)] == ["step-999999", "step-1000000"]
    assert not (tmp_path / ".step-000003.part").exists()
    prune(tmp_path, keep=3)
    assert len(step_folders(tmp_path)) == 2
    prune(tmp_path, keep=0)
    assert newest(tmp_path) is None
