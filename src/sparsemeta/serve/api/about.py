"""What a server says of itself: its model, its health, its numbers."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST

from sparsemeta.serve.api.service import Owner, Served, Service

router = APIRouter()


def _model(service: Service) -> dict[str, Any]:
    about = {"id": service.name, "object": "model", "created": int(service.began)}
    tokenizer = service.tokenizer
    more = {"vocabulary": tokenizer.vocab_size, "separator": tokenizer.separator}
    return {**about, "owned_by": "sparsemeta", **more, "chat": service.template is not None}


@router.get("/v1/models")
def models(service: Served, owner: Owner) -> dict[str, Any]:
    """The one model."""
    return {"object": "list", "data": [_model(service)]}


@router.get("/v1/models/{model:path}")
def model(model: str, service: Served, owner: Owner) -> dict[str, Any]:
    """The model, by its name."""
    service.require_model(model)
    return _model(service)


@router.get("/health")
def health(service: Served) -> Response:
    """Whether requests will be answered."""
    alive = service.turns.engine.alive
    return JSONResponse({"status": "ok" if alive else "failed"}, 200 if alive else 503)


@router.get("/metrics")
def metrics(service: Served) -> Response:
    """Numbers for Prometheus."""
    return Response(service.metrics.show(), media_type=CONTENT_TYPE_LATEST)
