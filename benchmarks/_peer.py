"""A peer in an environment of its own, under .bench/, made on the first call."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PEER = "fast-weight-product-key-memory==0.2.2"


def start_peer() -> Callable[[str], None]:
    """Start the peer in its own environment, made if need be; returns how to give it commands."""
    folder = ROOT / ".bench" / "fwpkm"
    python, ready = folder / "bin" / "python", folder / "ready"
    if not ready.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        (folder.parent / ".gitignore").write_text("*\n")
        pins = (ROOT / "requirements" / "ci.txt").read_text().splitlines()
        torch_pin = next(line for line in pins if line.startswith("torch=="))
        for package in (torch_pin, PEER):  # torch first: a bare range would bring CUDA packages
            subprocess.run([python, "-m", "pip", "install", "--quiet", package], check=True)
        ready.touch()
    script = Path(__file__).with_name("_fwpkm.py")
    pipe = subprocess.PIPE
    process = subprocess.Popen([python, script], stdin=pipe, stdout=pipe, text=True)

    answers = process.stdout
    assert answers

    def ask(command: str) -> None:
        print(command, file=process.stdin, flush=True)
        if answers.readline() != "done\n":
            raise SystemExit(f"{PEER} stopped at {command!r}; its error is above")

    return ask
