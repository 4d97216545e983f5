"""The application: calls, and what stands before them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from sparsemeta.serve.api import (
    about,
    chat,
    completions,
    conversations,
    errors,
    memories,
    responses,
)
from sparsemeta.serve.api.access import SizeLimit
from sparsemeta.serve.api.journal import Journal
from sparsemeta.serve.api.service import Service

ROUTERS = (about, completions, chat, responses, memories, conversations)


def application(service: Service, *, body: int, content: int) -> FastAPI:
    """A service as an ASGI application.

    Args:
        service: what is served.
        body: bytes that a request may have.
        content: bytes that an uploaded memory may have.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.turns.engine:
            yield

    app = FastAPI(title="sparsemeta", version="1", lifespan=lifespan)
    app.state.service = service
    for module in ROUTERS:
        app.include_router(module.router)
    errors.install(app)
    app.add_middleware(SizeLimit, most=body, content=content)
    app.add_middleware(Journal, metrics=service.metrics)
    return app
