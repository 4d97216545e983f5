"""Where the streams of versions stand: kept while there is room, else found again."""

import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from sparsemeta.fast_weights import Blueprint, FastWeights, Origin, read_origin
from sparsemeta.lm import LanguageModel
from sparsemeta.serve.engine import Snapshot, reach, resumed
from sparsemeta.serve.store import Store, Version


class Position(NamedTuple):
    """What a version is, ready to be gone on with.

    Attributes:
        memory: of one stream.
        origin: where it comes from.
        stream: where its conversation stands; None if the version was no step of one.
    """

    memory: FastWeights
    origin: Origin
    stream: Snapshot | None

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return self.stream.state.nbytes if self.stream else self.memory.nbytes


class Positions:
    """The positions of versions, the least recently used forgotten first.

    A version in the store has its memory and the tokens of its conversation. Its attention window
    is here alone: when it was forgotten, or the server started anew, it is filled again.

    Args:
        store: of the versions.
        model: that all share.
        blueprint: of its memories.
        most: bytes that are kept.
    """

    def __init__(self, store: Store, model: LanguageModel, blueprint: Blueprint, most: int):
        self._store, self._model, self.blueprint = store, model, blueprint
        self._most, self._size = most, 0
        self._kept: OrderedDict[str, Position] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, version: str, position: Position) -> None:
        """Keep the position of a version."""
        with self._lock:
            if version in self._kept:
                self._size -= self._kept.pop(version).nbytes
            self._kept[version] = position
            self._size += position.nbytes
            while self._size > self._most:
                self._size -= self._kept.popitem(last=False)[1].nbytes

    def forget(self) -> None:
        """Forget all: what was deleted must be nowhere."""
        with self._lock:
            self._kept.clear()
            self._size = 0

    def at(self, owner: str, version: Version) -> Position:
        """The position of a version, its memory alone if that is all that is at hand."""
        with self._lock:
            if found := self._kept.get(version.id):
                self._kept.move_to_end(version.id)
                return found
        path = self._store.path(owner, version.id)
        made = Position(FastWeights.load(path, self.blueprint), read_origin(path), None)
        self.put(version.id, made)
        return made

    def stream(self, owner: str, version: Version) -> Snapshot:
        """Where the conversation of a version stands; where it has none, one begins."""
        position = self.at(owner, version)
        if position.stream is None and version.ledger:
            last = self._store.ledger(owner, version.id)[-reach(self._model) :]
            stream = resumed(self._model, position.memory, last)
            position = position._replace(stream=stream)
            self.put(version.id, position)
        return position.stream or self.beginning(position)

    def beginning(self, position: Position) -> Snapshot:
        """The start of a text that finds a memory: an empty attention window."""
        return Snapshot(self._model.begin(position.memory))

    def merged(self, one: Path, other: Path, base: Path | None) -> bytes:
        """The file of what two memory files learned since they parted from a third."""
        a, b = (FastWeights.load(path, self.blueprint) for path in (one, other))
        began = FastWeights.load(base, self.blueprint) if base else None
        read = [read_origin(path) for path in (one, other)]
        start = read_origin(base) if base else read[0]._replace(texts=0, bytes=0)
        texts = sum(origin.texts for origin in read) - start.texts
        size = sum(origin.bytes for origin in read) - start.bytes
        return a.merge(b, began).encode(start._replace(texts=texts, bytes=size))
