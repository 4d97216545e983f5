"""`/v1/memories`: what was learned, as versions that can be read into, gone back to and shared."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request as HttpRequest, Response
from fastapi.responses import StreamingResponse

from sparsemeta.errors import NotFoundError
from sparsemeta.serve.api.access import retry_of
from sparsemeta.serve.api.errors import ApiError
from sparsemeta.serve.api.reading import ReadBody, Reading
from sparsemeta.serve.api.replies import Request, answered
from sparsemeta.serve.api.requests import Body, Short
from sparsemeta.serve.api.service import Found, Owner, Served
from sparsemeta.serve.api.streaming import HEADERS, Frame, respond
from sparsemeta.serve.api.turns import Turn
from sparsemeta.serve.api.views import listed, memory_view, version_view
from sparsemeta.serve.store import Memory, Store

router = APIRouter(prefix="/v1/memories")

After = Annotated[str | None, Query(max_length=128)]
Limit = Annotated[int, Query(ge=1, le=100)]
IfMatch = Annotated[str | None, Header(max_length=200)]
BINARY = "application/octet-stream"
POLL = 0.5
"""Seconds between two looks at what happened."""


class Create(Body):
    """A memory to be."""

    name: Short | None = None
    source: Short | None = None
    """The id of a version to begin with; an empty memory if left out."""


class Fork(Body):
    """A memory to be, which begins as another."""

    name: Short | None = None
    version: Short | None = None
    """Of the other; its head if left out."""


class Undo(Body):
    """Where to go back to."""

    to: Short | None = None
    """A version; the one before if left out."""


class Merge(Body):
    """What else is to be known."""

    other: Short
    """Another memory, which stays as it is."""


def shown(response: Response, memory: Memory) -> dict[str, Any]:
    """A memory, its version as the entity tag."""
    response.headers["etag"] = f'"{memory.head.id}"'
    return memory_view(memory)


def the_expected(found: Found, if_match: IfMatch = None) -> str | None:
    """The version that a head must be at, by the header `If-Match`."""
    if if_match is None or if_match.strip() == "*":
        return None
    wanted, head = if_match.strip().removeprefix("W/").strip('"'), found.head.id
    if wanted != head:
        raise ApiError(412, f"The memory has moved on: it is at {head}, not at {wanted}.")
    return wanted


Expected = Annotated[str | None, Depends(the_expected)]


@router.get("")
def list_memories(
    service: Served, owner: Owner, after: After = None, limit: Limit = 20
) -> dict[str, Any]:
    """The memories of a key's owner, newest first."""
    return listed(service.store.memories(owner, after=after, limit=limit), memory_view)


@router.post("", status_code=201)
def create(body: Create, response: Response, service: Served, owner: Owner) -> dict[str, Any]:
    """A new memory: empty, or as a version of another is."""
    if body.source is None:
        return shown(response, service.store.create(owner, body.name))
    return shown(response, service.store.fork(owner, body.source, body.name))


@router.get("/{memory}")
def get(found: Found, response: Response) -> dict[str, Any]:
    """A memory, by its id or its name."""
    return shown(response, found)


@router.delete("/{memory}")
def delete(found: Found, service: Served, owner: Owner) -> dict[str, Any]:
    """Erase a memory, and every byte that it alone has held."""
    service.store.delete(owner, found.id)
    service.turns.positions.forget()
    return {"id": found.id, "object": "memory.deleted", "deleted": True}


@router.get("/{memory}/versions")
def versions(
    found: Found, service: Served, owner: Owner, after: After = None, limit: Limit = 20
) -> dict[str, Any]:
    """All that a memory was, on every branch, newest first."""
    page = service.store.versions(owner, found.id, after=after, limit=limit)
    return listed(page, version_view)


@router.post("/{memory}/fork", status_code=201)
def fork(
    found: Found, body: Fork, response: Response, service: Served, owner: Owner
) -> dict[str, Any]:
    """A new memory on a version of this one; nothing is copied."""
    version = body.version or found.head.id
    return shown(response, service.store.fork(owner, version, body.name))


@router.post("/{memory}/undo")
def undo(
    found: Found, body: Undo, response: Response, service: Served, owner: Owner, expect: Expected
) -> dict[str, Any]:
    """Go back to the version before, or to any other; nothing is lost."""
    return shown(response, service.store.undo(owner, found.id, body.to, expect=expect))


@router.post("/{memory}/reset")
def reset(
    found: Found, response: Response, service: Served, owner: Owner, expect: Expected
) -> dict[str, Any]:
    """Go on with nothing; what was is still there to go back to."""
    return shown(response, service.store.reset(owner, found.id, expect=expect))


@router.post("/{memory}/merge")
def merge(
    found: Found, body: Merge, response: Response, service: Served, owner: Owner, expect: Expected
) -> dict[str, Any]:
    """Learn what another memory has learned."""
    other, combine = service.chosen(owner, body.other), service.turns.positions.merged
    merged = service.store.merge(owner, found.id, other.id, combine, expect=expect)
    return shown(response, merged)


@router.get("/{memory}/content", response_class=Response)
def download(found: Found, service: Served, owner: Owner, version: After = None) -> Response:
    """The memory file, as `sparsemeta memory show` and `read --memory` take it."""
    head = found.head if version is None else service.store.version(owner, version)
    content = service.store.content(owner, head.id)
    return Response(content, media_type=BINARY, headers={"etag": f'"{head.id}"'})


@router.put("/{memory}/content")
async def upload(
    found: Found,
    request: HttpRequest,
    response: Response,
    service: Served,
    owner: Owner,
    expect: Expected,
) -> dict[str, Any]:
    """Go on with the memory of a file, which must be of this model."""
    content, store = await request.body(), service.store
    made = await asyncio.to_thread(store.upload, owner, found.id, content, expect=expect)
    return shown(response, made)


@router.post("/{memory}/read")
async def read(
    found: Found,
    request: HttpRequest,
    body: ReadBody,
    service: Served,
    owner: Owner,
    expect: Expected,
) -> Response:
    """Read a text, and learn it: tells how surprising each token was. One version, at the end."""
    tokens = [service.tokenizer.separator, *service.tokenizer.encode(body.text).tolist()]

    async def plan() -> Turn:
        head = (await asyncio.to_thread(service.store.memory, owner, found.id)).head
        if expect not in (None, head.id):
            raise ApiError(412, "The memory has moved on meanwhile.")
        moves = head.id if body.store else None
        return Turn(owner=owner, memory=found.id, parent=head, head=moves, tokens=tokens)

    retry = retry_of(request, body.model_dump()) if body.store else None
    size, held = len(body.text.encode()), found.id if body.store else None
    asked = Request(Reading(service), plan, held, size, retry)
    items = answered(service.turns, service.metrics, asked)
    return await respond(request, items, stream=body.stream)


@router.get("/{memory}/events", response_class=Response)
def events(
    found: Found,
    service: Served,
    owner: Owner,
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
    follow: bool = False,
) -> Response:
    """What happened to a memory, as server-sent events; with `follow`, also what will."""
    told = _told(service.store, owner, found.id, after, follow=follow)
    return StreamingResponse(told, media_type="text/event-stream", headers=HEADERS)


async def _told(
    store: Store, owner: str, memory: str, number: int, *, follow: bool
) -> AsyncIterator[bytes]:
    while True:
        try:
            page = await asyncio.to_thread(store.events, owner, memory, after=number)
        except NotFoundError:  # it was deleted
            return
        for event in page.items:
            number = event.number
            about = {"number": number, "version": event.version, "created": event.created}
            yield Frame({**about, **event.about}, event.kind).encode()
        if page.more:
            continue
        if not follow:
            return
        await asyncio.sleep(POLL)
