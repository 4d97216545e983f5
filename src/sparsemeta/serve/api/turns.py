"""A turn: a memory goes on with some tokens, and what it learned becomes a version, or nothing.

Nothing is kept unless a turn came to its end: a listener who goes away, an error, a kill leave the
version before as it was.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal
from weakref import WeakValueDictionary

import numpy as np

from sparsemeta.lm import Sampling
from sparsemeta.serve.api.errors import ApiError
from sparsemeta.serve.api.positions import Position, Positions
from sparsemeta.serve.engine import Engine, Event, Finished, Snapshot, Task
from sparsemeta.serve.store import Done, Retry, Step, Store, Version

WAITING = 4096
"""Tasks that the engine may have at once."""


@dataclass(frozen=True)
class Turn:
    """What a memory is to go on with.

    Attributes:
        owner: of the memory.
        memory: its id.
        parent: the version of it to go on from.
        head: where its head must be, to be moved on; None moves no head.
        tokens: to read, a separator first where a text begins.
        ledger: whether the conversation goes on (`extend`), one begins, or this is none (`keep`).
        kind: of the version.
        sampling: what is written then.
        stop: strings that end what is written.
        top: how many likely tokens are told for each place.
    """

    owner: str
    memory: str
    parent: Version
    head: str | None
    tokens: Sequence[int]
    ledger: Literal["extend", "keep", "begin"] = "keep"
    kind: Literal["read", "response"] = "read"
    sampling: Sampling = field(default_factory=lambda: Sampling(tokens=0))
    stop: tuple[str, ...] = ()
    top: int = 0


@dataclass(frozen=True)
class Kept:
    """What is kept beside the memory when a turn becomes a version.

    Attributes:
        about: numbers for people.
        size: of the text that was read and written, in UTF-8.
        result: what a retry is answered.
        response: the name of the answer, if it has one.
        retry: by what the request is known again.
    """

    about: Mapping[str, float]
    size: int
    result: bytes
    response: str | None
    retry: Retry


class Turns:
    """Takes turns of many memories.

    Args:
        store: of the memories.
        engine: of the model.
        positions: of their versions.
    """

    def __init__(self, store: Store, engine: Engine, positions: Positions):
        self.store, self.engine, self.positions = store, engine, positions
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def require_room(self) -> None:
        """Raise `ApiError` if so many wait that another would wait long."""
        if self.engine.waiting >= WAITING:
            message = "Too many requests are being answered. Try again in a moment."
            raise ApiError(503, message, headers={"retry-after": "1"})

    @asynccontextmanager
    async def alone(self, memory: str) -> AsyncIterator[None]:
        """While nobody else moves the head of a memory, by its id."""
        lock = self._locks.setdefault(memory, asyncio.Lock())
        async with lock:
            yield

    async def take(self, turn: Turn) -> AsyncGenerator[Event]:
        """Read and write: yields what the engine tells."""
        begin = await asyncio.to_thread(self._begin, turn)
        tokens = np.asarray(turn.tokens, np.int64)
        task = Task(begin, tokens, turn.sampling, turn.stop, turn.top)
        async with aclosing(self.engine.run(task)) as events:
            async for event in events:
                yield event

    async def replay(self, turn: Turn, retry: Retry) -> Done | None:
        """What a turn came to, if it was taken before."""
        asked = (turn.owner, turn.memory, turn.parent.id, retry)
        return await asyncio.to_thread(self.store.replay, *asked)

    async def keep(self, turn: Turn, done: Finished, kept: Kept) -> Done:
        """Make a version of a turn that came to its end."""
        return await asyncio.to_thread(self._keep, turn, done, kept)

    def _begin(self, turn: Turn) -> Snapshot:
        if turn.ledger == "extend":
            return self.positions.stream(turn.owner, turn.parent)
        return self.positions.beginning(self.positions.at(turn.owner, turn.parent))

    def _keep(self, turn: Turn, done: Finished, kept: Kept) -> Done:
        origin, memory = self.positions.at(turn.owner, turn.parent).origin, done.after.state.memory
        texts = origin.texts + (turn.ledger != "extend")
        origin = origin._replace(texts=texts, bytes=origin.bytes + kept.size)
        step = Step(
            parent=turn.parent.id,
            content=memory.encode(origin),
            tokens=[*turn.tokens, *done.wrote],
            kind=turn.kind,
            ledger=turn.ledger,
            moves=turn.head,
            response=kept.response,
            result=kept.result,
            about=kept.about,
            retry=kept.retry,
        )
        made = self.store.commit(turn.owner, turn.memory, step)
        if not made.replayed:
            stream = None if turn.ledger == "keep" else done.after
            self.positions.put(made.version.id, Position(memory, origin, stream))
        return made
