"""WikiText-2 in words with models of 30 million parameters, for a GPU; resumable in pieces.

    python experiments/wikitext2-gpu/run.py --minutes 8

trains the four recipes beside this file (text in data/wikitext-2), each where the last call left
it, and when one is done lets it read the test text: results.json. It stops, saved, when the minutes
are over; run it again to go on.
"""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

HERE = Path(__file__).parent
TEST = "data/wikitext-2/wiki.test.tokens"
ARMS = {
    "static": ("static", "cache"),
    "static-frozen": ("carried", "carried+cache"),
    "memory": ("static", "document", "carried"),
    "memory-frozen": ("carried", "carried+cache"),
}
"""By recipe, in the order in which they need each other."""
STOPPED = 130, -signal.SIGTERM
"""What a training that was asked to stop exits with, the latter before it had begun."""


@dataclass
class Options:
    """WikiText-2 in words, in pieces."""

    minutes: float = 8.0
    """After which to stop; a reading of the test text is not begun in the last third."""
    runs: Path = Path("runs")
    """Where the runs go."""


def within(command: list[str], seconds: float) -> bool:
    """Run a command of sparsemeta; asked to stop when the time is up. Whether it was done."""
    process = subprocess.Popen([sys.executable, "-m", "sparsemeta", *command])
    try:
        code = process.wait(timeout=max(1.0, seconds))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        code = process.wait()
    if code not in (0, *STOPPED):
        raise SystemExit(code)
    return code == 0


def main(options: Options) -> None:
    """Do as much as there is time for."""
    began, results = time.monotonic(), HERE / "results.json"
    found = json.loads(results.read_text()) if results.exists() else {}

    def left() -> float:
        return 60 * options.minutes - (time.monotonic() - began)

    for name, arms in ARMS.items():
        run = options.runs / f"wikitext2-gpu-{name}"
        if not within(["train", str(HERE / f"{name}.toml"), "--run", str(run)], left() - 20):
            raise SystemExit(f"{name} is not done: run this again to go on")
        for arm in arms:
            if arm in found.get(name, {}):
                continue
            if left() < 20 * options.minutes:
                raise SystemExit(f"{name}, {arm} is to be read yet: run this again to go on")
            scores = run / f"{arm}.json"
            within(["evaluate", str(run), TEST, "--arms", arm, "--json", str(scores)], 3600)
            found.setdefault(name, {})[arm] = json.loads(scores.read_text())
            results.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Options))
