"""Rows from steps: what a version will say, and whether it may be made."""

import json
import secrets
import sqlite3
from typing import Any

from sparsemeta.errors import ConflictError, NotFoundError, require
from sparsemeta.serve.store.database import Database
from sparsemeta.serve.store.ledgers import NOTHING, Hasher, pack
from sparsemeta.serve.store.lineage import is_before
from sparsemeta.serve.store.rows import PREFIXES, insert, memory_row
from sparsemeta.serve.store.types import Retry, Step

FRESH = ("create", "upload", "reset")
"""Kinds of versions that did not grow out of their parent."""

AGAIN = 600.0
"""Seconds in which a client may repeat a request without a key: what openai's waits for one."""


def grown(hasher: Hasher, parent: sqlite3.Row | None, step: Step) -> dict[str, Any]:
    """What a version will say of how it grew, and the record of its step, to be written."""
    fresh, identity = step.kind in FRESH, name_of("ver")
    before = None if fresh else parent
    begun = None if step.ledger == "begin" else before
    learned = () if step.ledger == "keep" else step.tokens
    return {
        "id": identity,
        "parent": parent and parent["id"],
        "base": before["base"] if before else identity,
        "kind": step.kind,
        "mode": step.ledger,
        "bytes": len(step.content),
        "record": pack(step.tokens, step.result),
        "tokens": len(step.tokens),
        "position": (before["position"] if before else 0) + len(step.tokens),
        "ledger": (begun["ledger"] if begun else 0) + len(learned),
        "hash": hasher.extend(begun["hash"] if begun else NOTHING, learned),
        "response": step.response,
        "about": json.dumps(dict(step.about), allow_nan=False),
    }


def add_memory(
    sql: sqlite3.Connection,
    owner: str,
    version: str,
    *,
    name: str | None,
    conversation: bool,
    created: float,
) -> str:
    """A new memory on a version; its id."""
    require(
        name is None or (0 < len(name) <= 200 and name.isprintable()),
        f"a memory cannot be called {name!r}: choose up to 200 printable characters.",
    )
    require(
        name is None or not name.startswith(PREFIXES),
        f"a memory cannot be called {name!r}: ids begin like this.",
    )
    if name is not None:
        try:
            memory_row(sql, owner, name)
        except NotFoundError:
            pass
        else:
            raise ConflictError(f"there is a memory {name!r} already. Choose another name.")
    identity = name_of("conv" if conversation else "mem")
    about = {"id": identity, "owner": owner, "name": name, "conversation": conversation}
    insert(sql, "memories", about | {"created": created, "head": version, "origin": version})
    return identity


def add_retry(
    sql: sqlite3.Connection, database: Database, owner: str, version: str, retry: Retry
) -> None:
    """Know a request again."""
    key = None if retry.key is None else database.mac("key", retry.key.encode())
    body = database.mac("body", retry.body)
    insert(sql, "retries", {"version": version, "owner": owner, "key": key, "body": body})


def find_retry(
    sql: sqlite3.Connection,
    database: Database,
    memory: sqlite3.Row,
    parent: sqlite3.Row,
    retry: Retry | None,
    now: float,
) -> sqlite3.Row | None:
    """The version that a request made when it came before; see `Store.replay`."""
    if retry is None or (retry.key is None and not retry.repeated):
        return None
    owner, body = memory["owner"], database.mac("body", retry.body)
    found = "SELECT * FROM retries JOIN versions ON id = version WHERE retries.owner = ? AND "
    if retry.key is not None:
        key = database.mac("key", retry.key.encode())
        row = sql.execute(f"{found} key = ?", (owner, key)).fetchone()
        if row is not None and row["body"] != body:
            raise ConflictError(
                "this Idempotency-Key was used for another request. Send a new one with each."
            )
        return row
    for row in sql.execute(f"{found} body = ? ORDER BY seq DESC", (owner, body)):
        lately = row["created"] >= now - AGAIN and is_before(sql, row, parent["id"])
        if row["memory"] == memory["id"] and (row["parent"] == parent["id"] or lately):
            return row
    return None


def check_response(sql: sqlite3.Connection, owner: str, response: str | None) -> None:
    """Raise `ConflictError` if an owner has an answer of this name."""
    query = "SELECT EXISTS (SELECT 1 FROM versions WHERE owner = ? AND response = ?)"
    if sql.execute(query, (owner, response)).fetchone()[0]:
        raise ConflictError(f"there is a response {response!r} already.")


def expect_head(memory: sqlite3.Row, head: str | None) -> None:
    """Raise `ConflictError` unless the head is where it is expected; None expects nothing."""
    if head not in (None, memory["head"]):
        raise ConflictError(
            f"the memory is at {memory['head']}, not at {head}: it has read more, or was moved. "
            "Look at it again."
        )


def name_of(kind: str) -> str:
    """A new id, which nobody can guess."""
    return f"{kind}_{secrets.token_hex(16)}"
