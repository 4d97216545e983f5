"""What is told of memories and versions."""

from collections.abc import Callable
from typing import Any, TypeVar

from sparsemeta.serve.store import Memory, Page, Version

T = TypeVar("T", Memory, Version)


def memory_view(memory: Memory) -> dict[str, Any]:
    """A memory, and the version that its head is at."""
    return {
        "id": memory.id,
        "object": "conversation" if memory.conversation else "memory",
        "name": memory.name,
        "created_at": int(memory.created),
        "version": memory.head.id,
        "steps": memory.head.position,
        "bytes": memory.head.bytes,
        "fingerprint": memory.head.blob,
        "head": version_view(memory.head),
    }


def version_view(version: Version) -> dict[str, Any]:
    """A version."""
    return {
        "id": version.id,
        "object": "memory.version",
        "parent": version.parent,
        "kind": version.kind,
        "created_at": int(version.created),
        "tokens": version.tokens,
        "position": version.position,
        "conversation_tokens": version.ledger,
        "bytes": version.bytes,
        "fingerprint": version.blob,
        "response_id": version.response,
        "about": dict(version.about),
    }


def listed(page: Page[T], view: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page of a list, as OpenAI has it."""
    data = [view(item) for item in page.items]
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    none = {"first_id": None, "last_id": None}
    return {"object": "list", "data": data, **none, **ends, "has_more": page.more}
