"""What a version grew from: found in few steps, however long the line.

Beside its parent each version names a *jump*, an ancestor so chosen that any other is reached by a
number of parents and jumps that grows as the logarithm of how far it is (Myers, An applicative
random-access stack, 1983). Versions of one depth jump equally far.
"""

import sqlite3
from collections.abc import Iterator
from itertools import islice
from typing import Any

from sparsemeta.errors import NotFoundError
from sparsemeta.serve.store.rows import version_row

FIND = "SELECT * FROM versions WHERE id = ?"


def placed(sql: sqlite3.Connection, identity: str, parent: str | None) -> dict[str, Any]:
    """The depth and the jump of a new version."""
    if parent is None:
        return {"depth": 0, "jump": identity}
    above = _find(sql, parent)
    jump = _find(sql, above["jump"])
    further = _find(sql, jump["jump"])
    alike = above["depth"] - jump["depth"] == jump["depth"] - further["depth"]
    return {"depth": above["depth"] + 1, "jump": further["id"] if alike else parent}


def is_before(sql: sqlite3.Connection, version: sqlite3.Row, later: str) -> bool:
    """Whether a version is another, or that grew from it."""
    row, depth = _find(sql, later), version["depth"]
    return row["depth"] >= depth and _at(sql, row, depth)["id"] == version["id"]


def common(sql: sqlite3.Connection, one: sqlite3.Row, other: sqlite3.Row) -> sqlite3.Row | None:
    """The last version that two grew from since their base."""
    if one["base"] != other["base"]:
        return None
    depth = min(one["depth"], other["depth"])
    one, other = _at(sql, one, depth), _at(sql, other, depth)
    while one["id"] != other["id"]:
        step = "jump" if one["jump"] != other["jump"] else "parent"
        one, other = _find(sql, one[step]), _find(sql, other[step])
    return one


def line(sql: sqlite3.Connection, row: sqlite3.Row | None) -> Iterator[sqlite3.Row]:
    """A version and all that it grew from, newest first."""
    while row is not None:
        yield row
        row = _find(sql, row["parent"]) if row["parent"] else None


def since_base(sql: sqlite3.Connection, row: sqlite3.Row) -> Iterator[sqlite3.Row]:
    """A version and what it grew from, back to its base."""
    for earlier in line(sql, row):
        yield earlier
        if earlier["id"] == row["base"]:
            return


def version_of(sql: sqlite3.Connection, memory: sqlite3.Row, version: str) -> sqlite3.Row:
    """A version of a memory: made in it, or what it was forked from, or that grew from."""
    row = version_row(sql, memory["owner"], version)
    if row["memory"] != memory["id"] and not is_before(sql, row, memory["origin"]):
        raise NotFoundError(f"no version {version!r}: this memory has none such.")
    return row


def versions_of(
    sql: sqlite3.Connection, memory: sqlite3.Row, after: str | None, limit: int
) -> list[sqlite3.Row]:
    """Versions of a memory, newest first: made in it, and before them those that it grew from."""
    last = version_of(sql, memory, after) if after else None
    found, start = [], _find(sql, memory["origin"])
    if last is None or last["memory"] == memory["id"]:
        query = "SELECT * FROM versions WHERE memory = ? AND seq < ? ORDER BY seq DESC LIMIT ?"
        seq = last["seq"] if last else 2**63 - 1
        found = sql.execute(query, (memory["id"], seq, limit)).fetchall()
    else:
        start = _find(sql, last["parent"]) if last["parent"] else None
    if start is not None and start["memory"] != memory["id"]:
        found += islice(line(sql, start), limit - len(found))
    return found


def _at(sql: sqlite3.Connection, row: sqlite3.Row, depth: int) -> sqlite3.Row:
    """What a version grew from that has a depth, which is not greater than its own."""
    while row["depth"] > depth:
        jump = _find(sql, row["jump"])
        row = jump if jump["depth"] >= depth else _find(sql, row["parent"])
    return row


def _find(sql: sqlite3.Connection, version: str) -> sqlite3.Row:
    return sql.execute(FIND, (version,)).fetchone()
