import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparsemeta.cli import main

TEXT = "text/short.txt"


@pytest.fixture(autouse=True)
def _a_short_text(models):
    Path(TEXT).write_text("line 7 of 9: 49 is the square of 7\n" * 3)


def refused(capsys, *arguments):
    """What is said of a command that is refused, and that leaves no file."""
    before = sorted(Path().rglob("*"))
    assert main([*map(str, arguments)]) == 2
    assert sorted(Path().rglob("*")) == before
    message = capsys.readouterr().err
    assert "Traceback" not in message
    return message


@pytest.mark.parametrize("model", ["every", "tiny", "plain"])
def test_there_and_back(model, capsys):
    assert main(["compress", f"models/{model}", TEXT]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"{TEXT}.smz: 105 bytes to ")
    assert "bits per byte  " in shown.err
    assert "tokens/s" in shown.err
    assert main(["decompress", f"models/{model}", f"{TEXT}.smz", "--out", "back"]) == 0
    assert capsys.readouterr().out == "back: 105 bytes\n"
    assert Path("back").read_bytes() == Path(TEXT).read_bytes()


def test_another_process_unpacks():
    assert main(["compress", "models/every", TEXT]) == 0
    original = Path(TEXT).read_bytes()
    Path(TEXT).unlink()
    command = [sys.executable, "-m", "sparsemeta", "decompress", "models/every", f"{TEXT}.smz"]
    threads = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=threads)
    assert done.returncode == 0, done.stderr
    assert Path(TEXT).read_bytes() == original


@pytest.mark.parametrize("data", [b"", b"x", b"\xff", "ü\r\n\0".encode()])
def test_short_files(data):
    Path("short").write_bytes(data)
    assert main(["compress", "models/every", "short"]) == 0
    assert main(["decompress", "models/every", "short.smz", "--out", "back"]) == 0
    assert Path("back").read_bytes() == data


def test_with_what_was_read_before(capsys):
    assert main(["read", "models/every", "text/1.txt", "--out", "m"]) == 0
    assert main(["compress", "models/every", TEXT, "--memory", "m", "--out", "small"]) == 0
    unpack = ["decompress", "models/every", "small", "--out", "back"]
    assert "with a memory. Name its file: --memory" in refused(capsys, *unpack)
    assert main([*unpack, "--memory", "m"]) == 0
    assert Path("back").read_bytes() == Path(TEXT).read_bytes()


def test_what_stands_there_stays(capsys):
    Path(f"{TEXT}.smz").write_text("mine")
    assert "exists already. To lose it: --overwrite" in refused(
        capsys, "compress", "models/every", TEXT
    )
    assert main(["compress", "models/every", TEXT, "--overwrite"]) == 0
    unpack = ["decompress", "models/every", f"{TEXT}.smz"]
    assert f"{TEXT}: exists already" in refused(capsys, *unpack)
    assert main([*unpack, "--overwrite"]) == 0


@pytest.mark.parametrize("command", ["compress", "decompress"])
def test_what_is_no_file_and_no_model(command, capsys):
    assert "text: cannot be read (Is a directory)" in refused(
        capsys, command, "models/every", "text", "--out", "x"
    )
    assert "none: cannot be read (No such file" in refused(
        capsys, command, "models/every", "none", "--out", "x"
    )
    assert "none: is not a folder" in refused(capsys, command, "none", TEXT, "--out", "x")
    assert "text: is a folder. Name a file in it" in refused(
        capsys, command, "models/every", TEXT, "--out", "text"
    )


def test_what_is_not_packed_or_damaged_or_of_another_model(capsys):
    plain = refused(capsys, "decompress", "models/every", TEXT, "--out", "x")
    assert f"{TEXT}: this is not a file that `sparsemeta compress` made" in plain
    assert "name a file to write: --out FILE" in refused(capsys, "decompress", "models/every", TEXT)
    assert main(["compress", "models/every", TEXT, "--out", "p.smz"]) == 0
    capsys.readouterr()
    assert "by another model" in refused(capsys, "decompress", "models/tiny", "p.smz")
    data = bytearray(Path("p.smz").read_bytes())
    data[-1] ^= 1
    Path("p.smz").write_bytes(data)
    assert "p.smz: this file is damaged" in refused(capsys, "decompress", "models/every", "p.smz")
