"""Writers that are killed at random moments, and what a store must hold after each kill.

    python -m tests.serve.store.killing FOLDER KILLS [SEED]

A writer has four threads, each of which says in a pipe what it is about to do, does it, and says
that it is done: an acknowledgement. After the kill the store is opened and must hold all that was
acknowledged; what was begun is sent again, as a client would do, and must then be there once.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path

from sparsemeta.errors import NotFoundError
from sparsemeta.serve.store import Retry, Step, Store
from sparsemeta.serve.store.ledgers import unpack
from tests.serve.store.made import blueprint, content, open_store

MADE = blueprint()
THREADS = 4
OPERATIONS = ["commit"] * 12 + ["fork", "undo", "reset", "upload"]


def step_of(number: int, parent: str, *, repeated: bool = False) -> Step:
    """A request that reads its own number."""
    retry = Retry(b"%d" % number, key=f"key-{number}", repeated=repeated)
    made = content(MADE, number)
    return Step(parent, made, [number], moves=parent, result=b"%d" % number, retry=retry)


def write(store: Store, owner: str, seed: str, numbers: range, pipe: int) -> None:
    """One thread of a writer, until it is killed."""
    draw = random.Random(seed)
    for number in numbers:
        memory = store.default(owner)
        head = memory.head.id
        what = draw.choice(OPERATIONS)

        def say(number: int = number, what: str = what, head: str = head, **more: object) -> None:
            line = {"owner": owner, "number": number, "what": what, "parent": head, **more}
            os.write(pipe, json.dumps(line).encode() + b"\n")  # whole: shorter than a pipe's page

        say(done=False)
        if what == "commit":
            made = store.commit(owner, memory.id, step_of(number, head)).version.id
        elif what == "fork":
            made = store.fork(owner, head).id
            say(what="forked", made=made, done=True)
            store.delete(owner, made)
        elif what == "upload":
            made = store.upload(owner, memory.id, content(MADE, number)).head.id
        elif what == "reset" or memory.head.parent is None:
            made = store.reset(owner, memory.id).head.id
        else:
            made = store.undo(owner, memory.id).head.id
        say(done=True, made=made)


def killed(folder: Path, kill: int, draw: random.Random) -> list[dict]:
    """Start a writer, and kill it; what it said."""
    reader, pipe = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        store = open_store(folder)
        first = 1_000_000 * kill
        for thread in range(THREADS):
            numbers = range(first + thread * 200_000, first + (thread + 1) * 200_000)
            work = (store, f"user-{thread}", f"{kill}-{thread}", numbers, pipe)
            threading.Thread(target=write, args=work).start()
        signal.pause()
    os.close(pipe)
    lines, enough = b"", draw.randrange(1, 120)
    while lines.count(b"\n") < enough:
        heard = os.read(reader, 65536)
        assert heard, "the writer died by itself"
        lines += heard
    time.sleep(draw.uniform(0, 0.01))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while heard := os.read(reader, 65536):
        lines += heard
    os.close(reader)
    return [json.loads(line) for line in lines.splitlines()]


def check(store: Store, said: list[dict]) -> None:
    """All that was acknowledged is there and is equal, and nothing that nobody names."""
    last = {}
    for line in said:
        owner, number = line["owner"], line["number"]
        last[owner] = line
        if not line["done"]:
            continue
        if line["what"] in ("commit", "upload"):
            assert store.content(owner, line["made"]) == content(MADE, number), line
        elif line["what"] == "fork":
            try:
                store.memory(owner, line["made"])
                raise AssertionError(f"deleted, and there again: {line}")
            except NotFoundError:
                pass
    for owner, line in last.items():
        head = store.default(owner).head.id
        if line["what"] in ("fork", "forked") or not line["done"]:
            assert head == line["parent"] or not line["done"], line
        else:
            assert head == line["made"], line
        if line["what"] == "commit" and not line["done"]:
            store.commit(owner, "default", step_of(line["number"], line["parent"], repeated=True))
    with store._database.transaction() as sql:
        assert [row[0] for row in sql.execute("PRAGMA integrity_check")] == ["ok"]
        assert not sql.execute("PRAGMA foreign_key_check").fetchall()
        named = sql.execute("SELECT blob FROM versions UNION SELECT record FROM versions")
        named = {name for (name,) in named}
    assert {path.name for path in store._blobs.folder.iterdir()} == named


def check_once(store: Store, acknowledged: Counter) -> None:
    """Nothing was applied twice, and nothing that was acknowledged is missing."""
    with store._database.transaction() as sql:
        rows = sql.execute("SELECT record FROM versions WHERE kind = 'read'").fetchall()
    found = Counter(unpack(store._blobs.read(row["record"]))[0][0] for row in rows)
    assert set(found.values()) <= {1}
    assert acknowledged.keys() <= found.keys()


def main(folder: Path, kills: int, seed: int = 0) -> None:
    """Kill so many writers of one store, and check it after each."""
    draw, acknowledged = random.Random(seed), Counter()
    for kill in range(kills):
        said = killed(folder, kill, draw)
        with open_store(folder) as store:
            check(store, said)
            done = [line["number"] for line in said if line["what"] == "commit"]
            acknowledged.update(done)  # those that were begun have been sent again
            check_once(store, acknowledged)
    print(f"{kills} kills survived, {len(acknowledged)} commits")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
