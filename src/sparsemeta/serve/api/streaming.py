"""Answers as they are made: server-sent events, or one object at the end."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from sparsemeta.serve.api.errors import ApiError, body_of, log, status_of

PING = 15.0
"""Seconds of silence after which a comment says that the connection lives."""
HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}

T = TypeVar("T")


class Frame(NamedTuple):
    """A part of an answer that is streamed."""

    data: dict[str, Any] | str
    event: str | None = None

    def encode(self) -> bytes:
        """As it is sent."""
        data = self.data if isinstance(self.data, str) else dumps(self.data)
        name = f"event: {self.event}\n" if self.event else ""
        return f"{name}data: {data}\n\n".encode()


class Whole(NamedTuple):
    """All of an answer, at its end."""

    data: dict[str, Any]


START = Frame("")
"""Comes first: whatever fails from here on has been accepted."""

Items = AsyncGenerator[Frame | Whole]


def dumps(data: Any) -> str:
    """JSON, in one line."""
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


async def respond(request: Request, items: Items, *, stream: bool) -> Response:
    """Answer with items, of which `START` is the first and a `Whole` the last."""
    if not stream:
        return JSONResponse(await unless_gone(request, _whole(items)))
    await anext(items)  # what is refused is refused by a status
    return StreamingResponse(_encoded(items), media_type="text/event-stream", headers=HEADERS)


async def unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Do some work, but stop it when the client has gone."""
    doing, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({doing, gone}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        raise ApiError(408, "The client has gone. Nothing was kept.")
    finally:
        gone.cancel()
        if not doing.done():
            doing.cancel()
            await asyncio.wait({doing})


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _whole(items: Items) -> dict[str, Any]:
    async with aclosing(items):
        async for item in items:
            if isinstance(item, Whole):
                return item.data
    raise RuntimeError("an answer without an end")


async def _encoded(items: Items) -> AsyncIterator[bytes]:
    """Frames as bytes, with a comment now and then while there are none."""
    async with aclosing(items):
        coming = asyncio.ensure_future(anext(items))
        try:
            while True:
                if not (await asyncio.wait({coming}, timeout=PING))[0]:
                    yield b": ping\n\n"
                    continue
                item = coming.result()
                if isinstance(item, Whole):
                    return
                yield item.encode()
                coming = asyncio.ensure_future(anext(items))
        except Exception as error:  # the status was sent long ago
            if status_of(error) >= 500:
                log.error("failed", exc_info=error)
            yield Frame(body_of(error), "error").encode()
        finally:
            coming.cancel()
            await asyncio.wait({coming})
