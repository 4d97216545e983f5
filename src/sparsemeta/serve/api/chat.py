"""`/v1/chat/completions`: a chat that is sent again is learned once."""

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request as HttpRequest, Response
from pydantic import Field

from sparsemeta.serve.api.access import retry_of
from sparsemeta.serve.api.errors import ApiError
from sparsemeta.serve.api.replies import Reply, Request, Shape, answered
from sparsemeta.serve.api.requests import Body, Many, Nothing, Stopped
from sparsemeta.serve.api.service import Owner, Served, Service
from sparsemeta.serve.api.streaming import Frame, respond
from sparsemeta.serve.api.transcript import retold
from sparsemeta.serve.api.turns import Turn
from sparsemeta.serve.api.wording import chat_logprobs, usage
from sparsemeta.serve.engine import Choice, Event, Wrote

router = APIRouter()


class Part(Body):
    """A part of a message: text, and nothing else."""

    type: Literal["text", "input_text", "output_text"]
    text: str


class Message(Body):
    """What somebody said."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def said(self) -> dict[str, str]:
        """As a chat template takes it."""
        content = self.content
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        return {"role": "system" if self.role == "developer" else self.role, "content": text}


class ChatBody(Stopped):
    """A whole chat, of which the model is to give the next message."""

    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Many | None = None
    max_completion_tokens: Many | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    store: bool | None = None
    """Whether the memory learns from it: it does, if left out."""
    tools: Nothing = None
    functions: Nothing = None

    @property
    def tokens(self) -> int:
        """How many tokens are written at most."""
        given = (self.max_completion_tokens, self.max_tokens, 256)
        return next(many for many in given if many is not None)


@dataclass
class ChatCompletion(Shape):
    """The next message of a chat."""

    service: Service
    body: ChatBody
    name: str
    known: int = 0  # tokens that had been learned before

    def begin(self) -> Iterator[Frame]:
        """Who speaks."""
        yield self._frame({"role": "assistant", "content": ""})

    def tell(self, event: Event, text: str) -> Iterator[Frame]:
        """A piece of what is said."""
        tokens = (event.token,) if isinstance(event, Wrote) else ()
        if tokens or text:
            yield self._frame({"content": text}, self._logprobs(tokens))

    def _logprobs(self, tokens: Sequence[Choice]) -> dict[str, Any] | None:
        if not self.body.logprobs:
            return None
        top = self.body.top_logprobs or 0
        return {"content": chat_logprobs(self.service.tokenizer, tokens, top), "refusal": None}

    def _frame(self, delta: dict[str, str], logprobs: Any = None, reason: Any = None) -> Frame:
        choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return Frame(self._object("chat.completion.chunk", [choice]))

    def _object(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        about = {"id": self.name, "object": kind, "created": int(time.time())}
        return {**about, "model": self.service.name, "choices": choices}

    def whole(self, turn: Turn, reply: Reply) -> dict[str, Any]:
        """The message, and how it came about."""
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": reply.text, "refusal": None},
            "logprobs": self._logprobs(reply.wrote),
            "finish_reason": reply.reason,
        }
        counted = usage(len(turn.tokens), len(reply.wrote), self.known)
        return self._object("chat.completion", [choice]) | {"usage": counted}

    def end(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """Why it ended, and how much it was."""
        yield self._frame({}, reason=whole["choices"][0]["finish_reason"])
        if self.body.counts:
            about = self._object("chat.completion.chunk", [])
            yield Frame(about | {"usage": whole["usage"]})
        yield Frame("[DONE]")

    def again(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """All of the message at once."""
        choice = whole["choices"][0]
        yield self._frame({"content": choice["message"]["content"]}, choice["logprobs"])


@router.post("/v1/chat/completions")
async def chat(request: HttpRequest, body: ChatBody, service: Served, owner: Owner) -> Response:
    """Answer a chat: of it, only what the memory has not read yet is read."""
    service.require_model(body.model)
    if service.template is None:
        message = (
            f"{service.name} has no chat template: it was never taught to chat. Use "
            "/v1/completions or /v1/responses, or serve it with --chat-template FILE."
        )
        raise ApiError(400, message, param="messages")
    text = service.template.text([message.said for message in body.messages])
    memory = await asyncio.to_thread(service.chosen, owner, body.memory)
    shape = ChatCompletion(service, body, f"chatcmpl-{uuid.uuid4().hex}")
    kept = body.store is not False

    async def plan() -> Turn:
        turn, shape.known = await asyncio.to_thread(_found, service, owner, memory.id, body, text)
        return turn

    retry = retry_of(request, body.model_dump()) if kept else None
    held = memory.id if kept else None
    asked = Request(shape, plan, held, len(text.encode()), retry)
    items = answered(service.turns, service.metrics, asked)
    return await respond(request, items, stream=bool(body.stream))


def _found(
    service: Service, owner: str, memory: str, body: ChatBody, text: str
) -> tuple[Turn, int]:
    """Where a chat goes on, after the last version that has read nothing else; and how far."""
    head = service.store.memory(owner, memory).head
    ledger = service.store.ledger(owner, head.id) if head.ledger else []
    tokens = retold(service.tokenizer, text, ledger)
    match = service.store.match(owner, memory, tokens)
    known = match.tokens if match else 0
    turn = Turn(
        owner=owner,
        memory=memory,
        parent=match.version if match else head,
        head=head.id,
        tokens=tokens[known:],
        ledger="extend" if match else "begin",
        kind="response",
        sampling=body.sampling(body.tokens, body.seed),
        stop=body.stops,
        top=(body.top_logprobs or 0) if body.logprobs else 0,
    )
    return turn, known
