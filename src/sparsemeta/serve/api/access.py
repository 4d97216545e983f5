"""Who asks, how often, and how much: keys, rates and sizes."""

import json
import time
from collections.abc import Mapping
from typing import Any

from fastapi import Request
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sparsemeta.errors import ConfigError
from sparsemeta.serve.api.errors import ApiError, answer
from sparsemeta.serve.store import Keys, Retry


class Gate:
    """Lets those in who have a key, as often as they may.

    Args:
        keys: of the store.
        rate: requests of one owner, such as "600/minute".

    Raises:
        ConfigError: the rate cannot be understood.
    """

    def __init__(self, keys: Keys, rate: str):
        self._keys, self._limiter = keys, MovingWindowRateLimiter(MemoryStorage())
        try:
            self._rate: RateLimitItem = parse(rate)
        except ValueError:
            raise ConfigError(f"rate = {rate!r} is no rate. Write it as 600/minute.") from None

    def owner(self, request: Request) -> str:
        """Whose request this is.

        Raises:
            ApiError: nobody's whom we know; or it is one too many.
        """
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        owner = self._keys.owner(secret.strip()) if scheme.lower() == "bearer" else None
        if owner is None:
            message = "Give a key that is known here: Authorization: Bearer KEY"
            raise ApiError(401, message, headers={"www-authenticate": "Bearer"})
        if not self._limiter.hit(self._rate, owner):
            reset = self._limiter.get_window_stats(self._rate, owner).reset_time
            wait = max(1, round(reset - time.time()))
            message = f"More than {self._rate} requests. Wait {wait} s."
            raise ApiError(429, message, headers={"retry-after": str(wait)})
        return owner


def retry_of(request: Request, body: Mapping[str, Any]) -> Retry:
    """By what a request is known again: OpenAI's clients count their retries, and send no key."""
    key, count = (request.headers.get(k) for k in ("idempotency-key", "x-stainless-retry-count"))
    about = {"path": request.url.path, "body": body}
    canonical = json.dumps(about, sort_keys=True, separators=(",", ":")).encode()
    return Retry(canonical, key or None, repeated=(count or "0") != "0")


class SizeLimit:
    """Refuses bodies that are too long, before anything reads them.

    Args:
        app: that is protected.
        most: bytes of a body.
        content: bytes of a body that is a memory.
    """

    def __init__(self, app: ASGIApp, most: int, content: int):
        self._app, self._most, self._content = app, most, content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and count what is read of its body."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        most = self._content if scope["path"].endswith("/content") else self._most
        message = f"The body has more than {most:,} bytes."
        claimed = Headers(scope=scope).get("content-length", "0")
        if not claimed.isdigit() or int(claimed) > most:
            return await answer(ApiError(413, message))(scope, receive, send)
        size = 0

        async def counted() -> Message:
            nonlocal size
            part = await receive()
            size += len(part.get("body", b""))
            if size > most:
                raise HTTPException(413, message)
            return part

        await self._app(scope, counted, send)
        return None
