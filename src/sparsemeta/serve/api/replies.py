"""From a turn to an answer, whatever it looks like: planned, perhaps known already, taken, kept."""

import json
import math
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

from sparsemeta.serve.api.metrics import Metrics
from sparsemeta.serve.api.streaming import START, Frame, Items, Whole, dumps
from sparsemeta.serve.api.turns import Kept, Turn, Turns
from sparsemeta.serve.engine import Choice, Event, Finished, Read, Wrote
from sparsemeta.serve.store import Done, Retry


@dataclass
class Reply:
    """What was told of a turn so far.

    Attributes:
        read: the tokens that were read.
        wrote: the tokens that were written, also a last one that was not read.
        text: what was written.
        done: the end; None before.
    """

    read: list[Choice] = field(default_factory=list)
    wrote: list[Choice] = field(default_factory=list)
    text: str = ""
    done: Finished | None = None

    def add(self, event: Event) -> str:
        """Take in what is told; the text that this adds."""
        if isinstance(event, Read):
            self.read += event.tokens
            return ""
        if isinstance(event, Wrote):
            self.wrote.append(event.token)
        else:
            self.done = event
        self.text += event.text
        return event.text

    @property
    def reason(self) -> str:
        """Why it ended."""
        return self.done.reason if self.done else ""

    @property
    def nats(self) -> float:
        """-log p of all that was read and scored."""
        return -math.fsum(one.log_p for one in self.read if one.log_p is not None)


class Shape(ABC):
    """How an answer looks, streamed and whole."""

    @property
    def response(self) -> str | None:
        """The name of the version, where an answer can be gone on with."""
        return None

    def begin(self) -> Iterator[Frame]:
        """What comes before anything was read."""
        yield from ()

    @abstractmethod
    def tell(self, event: Event, text: str) -> Iterator[Frame]:
        """What is streamed of an event, which adds some text."""

    @abstractmethod
    def whole(self, turn: Turn, reply: Reply) -> dict[str, Any]:
        """The answer at the end."""

    @abstractmethod
    def end(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """What is streamed of it when all has been told."""

    @abstractmethod
    def again(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """What is streamed in place of the events where the whole is known."""


@dataclass(frozen=True)
class Request:
    """A turn that is asked for.

    Attributes:
        shape: of the answer.
        plan: says what is to be done, once nobody else moves the head.
        memory: whose head moves, by its id; None if none does.
        size: of the text that is read, in UTF-8.
        retry: by what the request is known again; None if nothing is kept of it.
    """

    shape: Shape
    plan: Callable[[], Awaitable[Turn]]
    memory: str | None
    size: int
    retry: Retry | None


async def answered(turns: Turns, metrics: Metrics, request: Request) -> Items:
    """Answer a request; what was kept is on the disk before the end is told."""
    shape, retry = request.shape, request.retry
    async with turns.alone(request.memory) if request.memory else nullcontext():
        turn = await request.plan()
        known = await turns.replay(turn, retry) if retry else None
        turns.require_room()
        yield START
        for frame in shape.begin():
            yield frame
        if known is None:
            reply = Reply()
            async for frame in _told(turns, metrics, turn, shape, reply):
                yield frame
            whole = shape.whole(turn, reply)
            if retry and reply.done:
                size = request.size + len(reply.text.encode())
                about = {"nats": reply.nats, "scored": float(len(reply.read))}
                result = dumps(whole).encode()
                kept = Kept(about, size, result, shape.response, retry)
                whole = _named(await turns.keep(turn, reply.done, kept), turn)
        else:
            whole = _named(known, turn)
            for frame in shape.again(whole):
                yield frame
    for frame in shape.end(whole):
        yield frame
    yield Whole(whole)


async def _told(
    turns: Turns, metrics: Metrics, turn: Turn, shape: Shape, reply: Reply
) -> AsyncGenerator[Frame]:
    async for event in turns.take(turn):
        metrics.told(event)
        for frame in shape.tell(event, reply.add(event)):
            yield frame


def _named(done: Done, turn: Turn) -> dict[str, Any]:
    """An answer, with the version that was made of it."""
    return json.loads(done.result) | {"memory": turn.memory, "version": done.version.id}
