"""A line of JSON for each request: no key, no user, no text."""

import json
import logging
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sparsemeta.serve.api.metrics import Metrics

log = logging.getLogger("sparsemeta.serve.requests")


class Journal:
    """Numbers requests, and notes and counts how each was answered.

    Args:
        app: that answers.
        metrics: where it is counted.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note what becomes of it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        name, began, status = uuid.uuid4().hex, time.perf_counter(), 500

        async def named(part: Message) -> None:
            nonlocal status
            if part["type"] == "http.response.start":
                status = part["status"]
                part["headers"] = [*part["headers"], (b"x-request-id", name.encode())]
            await send(part)

        try:
            return await self._app(scope, receive, named)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.answered(route, status, seconds)
            about = {"request": name, "method": scope["method"], "route": route}
            log.info(json.dumps({**about, "status": status, "seconds": round(seconds, 4)}))
