"""Bring a server up: model, store, engine, calls; and down again."""

import logging
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsemeta.errors import ConfigError, require, require_installed
from sparsemeta.fast_weights import Blueprint
from sparsemeta.lm import LanguageModel, Tokenizer, find_model, load, require_memory
from sparsemeta.serve.config import MIB, ServeConfig
from sparsemeta.serve.engine import Engine, empty, resumed
from sparsemeta.serve.store import Store

if TYPE_CHECKING:
    from fastapi import FastAPI

    from sparsemeta.serve.api import ChatTemplate

FIRST = "me"
"""Who owns the first key of a store."""
TEMPLATE = "chat_template.jinja"
"""In a model's folder, as Hugging Face has it."""


@dataclass(frozen=True)
class Served:
    """A model, and what is known of it.

    Attributes:
        model: on the CPU.
        tokenizer: its own.
        blueprint: of its memories.
        name: by which it is asked for.
        template: how it was taught to chat; None if it was not.
    """

    model: LanguageModel
    tokenizer: Tokenizer
    blueprint: Blueprint
    name: str
    template: "ChatTemplate | None" = None


@dataclass(frozen=True)
class Address:
    """Where a server listens.

    Attributes:
        url: of it.
        secret: the first key, if one was made: it is told this once.
        memories: the folder of its store.
    """

    url: str
    secret: str | None
    memories: Path


def serve(
    model: Path, config: ServeConfig, listening: Callable[[Address], None] = lambda where: None
) -> None:
    """Serve a model until a signal comes; open answers then have their time of grace.

    Args:
        model: its folder, or that of a run.
        config: how.
        listening: told when requests are taken.

    Raises:
        ConfigError: it has no memory, is none of ours, or the address is taken.
        StoreError: the store is being served already, or is damaged.
    """
    for package in ("fastapi", "uvicorn", "limits", "prometheus_client"):
        require_installed(package, "serve")
    loaded, tokenizer = load(model, "cpu")
    require(
        isinstance(loaded, LanguageModel),
        f"{model}: is a model of transformers, which has no memory to serve. Give the folder of a "
        "model of sparsemeta.",
    )
    assert isinstance(loaded, LanguageModel)
    require_memory(loaded)
    folder = config.store or model.with_name(f"{model.resolve().name}.store")
    nothing = empty(loaded)
    blueprint, most = Blueprint.of(loaded, nothing), round(config.content * MIB)
    with _bound(config) as door, Store(folder, blueprint, most=most) as store:
        served = Served(
            loaded, tokenizer, blueprint, model.resolve().name, _template(model, config)
        )
        app = build(served, store, config)
        resumed(loaded, nothing, [tokenizer.separator] * 2)  # what is compiled, is compiled now
        known = any(key.revoked is None for key in store.keys.list())
        secret = None if known else store.keys.add(FIRST)[1]
        host, port = door.getsockname()[:2]
        listening(Address(f"http://{host}:{port}", secret, folder))
        _run(app, door, config)


def build(served: Served, store: Store, config: ServeConfig) -> "FastAPI":
    """The application that serves a model and a store, which must be open as long as it runs."""
    from sparsemeta.serve.api import Gate, Metrics, Positions, Service, Turns, application

    model, kept = served.model, round(config.kept * MIB)
    engine = Engine(model, served.tokenizer, batch=config.batch)
    turns = Turns(store, engine, Positions(store, model, served.blueprint, kept))
    gate, metrics = Gate(store.keys, config.rate), Metrics(lambda: engine.waiting)
    service = Service(served.name, turns, gate, metrics, served.template)
    return application(service, body=round(config.body * MIB), content=round(config.content * MIB))


def _template(model: Path, config: ServeConfig) -> "ChatTemplate | None":
    """How the model was taught to chat, if it was."""
    from sparsemeta.serve.api import ChatTemplate

    if config.chat_template:
        return ChatTemplate.read(config.chat_template)
    found = [folder / TEMPLATE for folder in (model, find_model(model))]
    return next((ChatTemplate.read(path) for path in found if path.is_file()), None)


def _bound(config: ServeConfig) -> socket.socket:
    """A socket at the address that is asked for."""
    try:
        return socket.create_server((config.host, config.port), backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(
            f"{config.host}:{config.port}: cannot listen there ({reason}). Choose another with "
            "--host and --port; --port 0 takes one that is free."
        ) from None


def _run(app: "FastAPI", door: socket.socket, config: ServeConfig) -> None:
    """Answer requests until a signal comes."""
    import uvicorn

    log = logging.getLogger("sparsemeta.serve")
    log.addHandler(logging.StreamHandler(sys.stderr))
    log.setLevel(logging.INFO)
    uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=config.grace,
        )
    ).run(sockets=[door])
