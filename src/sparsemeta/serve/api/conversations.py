"""`/v1/conversations`: memories that are the head of one conversation."""

from typing import Any

from fastapi import APIRouter

from sparsemeta.serve.api.service import Owner, Served
from sparsemeta.serve.store import Memory

router = APIRouter(prefix="/v1/conversations")


def _view(memory: Memory) -> dict[str, Any]:
    about = {"id": memory.id, "object": "conversation", "created_at": int(memory.created)}
    return {**about, "metadata": {}, "version": memory.head.id}


@router.post("")
def create(service: Served, owner: Owner) -> dict[str, Any]:
    """A conversation, with an empty memory."""
    return _view(service.store.create(owner, conversation=True))


@router.get("/{conversation}")
def get(conversation: str, service: Served, owner: Owner) -> dict[str, Any]:
    """A conversation, by its id."""
    return _view(service.store.memory(owner, conversation))


@router.delete("/{conversation}")
def delete(conversation: str, service: Served, owner: Owner) -> dict[str, Any]:
    """Erase a conversation, and all that it taught."""
    found = service.store.memory(owner, conversation)
    service.store.delete(owner, found.id)
    service.turns.positions.forget()
    return {"id": found.id, "object": "conversation.deleted", "deleted": True}
