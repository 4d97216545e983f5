"""Errors as OpenAI's clients expect them: a JSON object, and a status that says what to do."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from sparsemeta.errors import (
    ConflictError,
    NotFoundError,
    SparseMetaError,
    StoreError,
    TooLargeError,
)

log = logging.getLogger("sparsemeta.serve")

NO_RETRY = {"x-should-retry": "false"}
"""For OpenAI's clients, which otherwise send again what was refused with 409 or 5xx."""


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        message: what is wrong, and how to mend it.
        param: the part of the body that is meant.
        headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(message)
        self.status, self.param, self.headers = status, param, headers


def status_of(error: Exception) -> int:
    """The status that says what became of a request."""
    if isinstance(error, ApiError):
        return error.status
    if isinstance(error, HTTPException):
        return error.status_code
    for kind, status in (
        (NotFoundError, 404),
        (ConflictError, 409),
        (TooLargeError, 413),
        (StoreError, 500),
        (SparseMetaError, 400),
        (RequestValidationError, 400),
    ):
        if isinstance(error, kind):
            return status
    return 500


def body_of(error: Exception) -> dict[str, Any]:
    """What is told of an error; nothing of those that nobody foresaw."""
    status, param = status_of(error), getattr(error, "param", None)
    message = str(getattr(error, "detail", error))
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        param = ".".join(str(part) for part in first["loc"] if part != "body") or None
        message = f"{param}: {first['msg']}" if param else first["msg"]
    if status >= 500:
        message = "The server failed. Nothing was changed; it may be tried again."
    code = HTTPStatus(status).phrase.lower().replace(" ", "_")
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer(error: Exception) -> JSONResponse:
    """The answer to a request that failed."""
    status, headers = status_of(error), dict(getattr(error, "headers", None) or {})
    if status == 409:
        headers |= NO_RETRY
    return JSONResponse(body_of(error), status, headers)


def install(app: FastAPI) -> None:
    """Answer every error of an application in one shape."""

    async def handle(_: Request, error: Exception) -> JSONResponse:
        if status_of(error) >= 500:
            log.error("failed", exc_info=error)
        return answer(error)

    for kind in (ApiError, SparseMetaError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, handle)
