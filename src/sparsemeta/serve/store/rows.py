"""Rows of the database as values, found for one owner: what is another's is not found."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from sparsemeta.errors import NotFoundError
from sparsemeta.serve.store.types import Event, Memory, Page, Version

COLUMNS = (
    *("id", "memory", "parent", "kind", "created", "blob", "bytes", "tokens", "position"),
    *("ledger", "response", "about"),
)
"""Of a version, as a value."""

UNUSED = """
WITH RECURSIVE kept (id) AS (
    SELECT id FROM versions WHERE owner = :owner AND memory IS NOT NULL
    UNION
    SELECT origin FROM memories WHERE owner = :owner
    UNION
    SELECT parent FROM versions JOIN kept USING (id) WHERE parent IS NOT NULL
)
SELECT id, blob, record FROM versions
WHERE owner = :owner AND id NOT IN kept ORDER BY seq DESC
"""
"""Versions that no memory has: neither made in one, nor what one was forked from or grew from."""

PREFIXES = ("mem_", "conv_")
"""Of ids, and of no name."""


def memory_row(sql: sqlite3.Connection, owner: str, memory: str) -> sqlite3.Row:
    """A memory, by its id or name."""
    column = "id" if memory.startswith(PREFIXES) else "name"
    query = f"SELECT * FROM memories WHERE owner = ? AND {column} = ?"
    return _only(sql.execute(query, (owner, memory)), f"no memory {memory!r}")


def version_row(sql: sqlite3.Connection, owner: str, version: str, by: str = "id") -> sqlite3.Row:
    """A version, by its id or the name of its `response`."""
    query = f"SELECT * FROM versions WHERE owner = ? AND {by} = ?"
    what = "response" if by == "response" else "version"
    return _only(sql.execute(query, (owner, version)), f"no {what} {version!r}")


def memory_value(sql: sqlite3.Connection, row: sqlite3.Row) -> Memory:
    """A memory with its head."""
    head = version_value(version_row(sql, row["owner"], row["head"]))
    return Memory(row["id"], row["name"], bool(row["conversation"]), row["created"], head)


def version_value(row: sqlite3.Row) -> Version:
    """A version, without what is the store's alone."""
    values = {name: row[name] for name in COLUMNS}
    return Version(**values | {"about": json.loads(row["about"])})


def event_value(row: sqlite3.Row) -> Event:
    """An event."""
    return Event(**{**row, "about": json.loads(row["about"])})


def page(found: Sequence[Any], limit: int) -> Page[Any]:
    """A page of a list of which one more than the limit was asked for."""
    return Page(found[:limit], len(found) > limit)


def insert(sql: sqlite3.Connection, table: str, values: Mapping[str, Any]) -> None:
    """Add a row to a table."""
    marks = ", ".join(f":{name}" for name in values)
    sql.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", values)


def _only(found: sqlite3.Cursor, otherwise: str) -> sqlite3.Row:
    row = found.fetchone()
    if row is None:
        raise NotFoundError(f"{otherwise}: there is none, or it is not yours.")
    return row
