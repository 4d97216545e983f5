"""A text that a memory reads: how surprising each token was."""

from collections.abc import Iterator
from typing import Any

from sparsemeta.serve.api.replies import Reply, Shape
from sparsemeta.serve.api.requests import Body
from sparsemeta.serve.api.service import Service
from sparsemeta.serve.api.streaming import Frame
from sparsemeta.serve.api.turns import Turn
from sparsemeta.serve.api.wording import log_p, spelt
from sparsemeta.serve.engine import Choice, Event, Read


class ReadBody(Body):
    """A text to be read."""

    text: str
    stream: bool = False
    store: bool = True
    """Whether it is learned; otherwise it is read, and forgotten."""


class Reading(Shape):
    """The surprise of each token, in nats, in the order read; the separator is not told."""

    def __init__(self, service: Service):
        self._tokenizer, self._begun = service.tokenizer, False

    def _surprises(self, tokens: tuple[Choice, ...] | list[Choice]) -> list[list[Any]]:
        texts = (spelt(self._tokenizer, one.token) for one in tokens)
        nats = (None if one.log_p is None else -log_p(one.log_p) for one in tokens)
        return [list(pair) for pair in zip(texts, nats, strict=True)]

    def tell(self, event: Event, text: str) -> Iterator[Frame]:
        """Tokens with their surprise."""
        if isinstance(event, Read):
            tokens = event.tokens if self._begun else event.tokens[1:]
            self._begun = True
            if tokens:
                yield Frame({"tokens": self._surprises(tokens)}, "read")

    def whole(self, turn: Turn, reply: Reply) -> dict[str, Any]:
        """How surprising it all was."""
        scored = reply.read[1:]
        about = {"object": "memory.reading", "memory": turn.memory, "nats": reply.nats}
        return {**about, "count": len(scored), "tokens": self._surprises(scored)}

    def end(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """The sums, and the version."""
        yield Frame({k: v for k, v in whole.items() if k != "tokens"}, "done")

    def again(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """All tokens at once."""
        yield Frame({"tokens": whole["tokens"]}, "read")
