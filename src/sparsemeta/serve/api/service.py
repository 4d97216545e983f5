"""What every call needs: the one model and its name, its memories, and who may use them."""

import time
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Path, Request

from sparsemeta.lm import Tokenizer
from sparsemeta.serve.api.access import Gate
from sparsemeta.serve.api.chats import ChatTemplate
from sparsemeta.serve.api.errors import ApiError
from sparsemeta.serve.api.metrics import Metrics
from sparsemeta.serve.api.turns import Turns
from sparsemeta.serve.store import DEFAULT, Memory, Store


@dataclass(frozen=True)
class Service:
    """One model, served.

    Attributes:
        name: of the model.
        turns: taken by it.
        gate: lets its users in.
        metrics: count what it does.
        template: how it was taught to chat; None if it was not.
        began: seconds since 1970.
    """

    name: str
    turns: Turns
    gate: Gate
    metrics: Metrics
    template: ChatTemplate | None = None
    began: float = field(default_factory=time.time)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's own."""
        return self.turns.engine.tokenizer

    @property
    def store(self) -> Store:
        """The memories."""
        return self.turns.store

    def require_model(self, name: str) -> None:
        """Raise `ApiError` unless this is the model's name."""
        if name != self.name:
            message = f"There is no model {name!r} here, but {self.name!r}."
            raise ApiError(404, message, param="model")

    def chosen(self, owner: str, memory: str | None) -> Memory:
        """The memory of an id or a name, or the default one, which everybody has."""
        if memory in (None, DEFAULT):
            return self.store.default(owner)
        return self.store.memory(owner, memory)


def the_service(request: Request) -> Service:
    """The service of an application."""
    return request.app.state.service


def the_owner(request: Request) -> str:
    """Whose request it is."""
    return the_service(request).gate.owner(request)


Served = Annotated[Service, Depends(the_service)]
Owner = Annotated[str, Depends(the_owner)]


def the_memory(
    service: Served, owner: Owner, memory: Annotated[str, Path(max_length=128)]
) -> Memory:
    """The memory of a path."""
    return service.chosen(owner, memory)


Found = Annotated[Memory, Depends(the_memory)]
