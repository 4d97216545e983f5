"""`/v1/responses`: text that goes on from any answer, or at the head of a conversation."""

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request as HttpRequest, Response
from pydantic import Field

from sparsemeta.serve.api.access import retry_of
from sparsemeta.serve.api.chat import Message
from sparsemeta.serve.api.errors import ApiError
from sparsemeta.serve.api.replies import Reply, Request, Shape, answered
from sparsemeta.serve.api.requests import Body, Many, Nothing, Short, Written
from sparsemeta.serve.api.service import Owner, Served, Service
from sparsemeta.serve.api.streaming import Frame, respond
from sparsemeta.serve.api.turns import Turn
from sparsemeta.serve.engine import Event

router = APIRouter()


class Item(Message):
    """A message."""

    type: Literal["message"] = "message"


class Named(Body):
    """A conversation."""

    id: Short


class ResponseBody(Written):
    """What is said, and what it goes on from."""

    input: Annotated[str, Field(min_length=1)] | Annotated[list[Item], Field(min_length=1)]
    instructions: str | None = None
    previous_response_id: Short | None = None
    conversation: Short | Named | None = None
    max_output_tokens: Many | None = None
    store: bool | None = None
    """Whether it can be gone on from: it can, if left out."""
    tools: Nothing = None
    background: Literal[False] | None = None

    @property
    def goes_on(self) -> str | None:
        """The conversation, if one is named."""
        named = self.conversation
        return named.id if isinstance(named, Named) else named

    def text(self, service: Service, *, first: bool) -> str:
        """The text to read: by the chat template, or as it is where there is none."""
        given = self.input
        items = [Item(role="user", content=given)] if isinstance(given, str) else given
        said = [item.said for item in items]
        if self.instructions:
            said.insert(0, {"role": "system", "content": self.instructions})
        if service.template is None:
            return "\n".join(one["content"] for one in said)
        return service.template.text(said) if first else service.template.continued(said)


@dataclass
class TextResponse(Shape):
    """An answer that can be gone on from."""

    service: Service
    body: ResponseBody
    name: str
    previous: str | None
    count: int = -1

    @property
    def response(self) -> str:
        """The name of the version, too."""
        return self.name

    def begin(self) -> Iterator[Frame]:
        """The answer before anything was read, and the message that is to come."""
        yield self._event("created", response=self._object("in_progress", []))
        yield self._event("in_progress", response=self._object("in_progress", []))
        item = self._message("", "in_progress") | {"content": []}
        yield self._event("output_item.added", output_index=0, item=item)
        yield self._event("content_part.added", **self._place, part=_part(""))

    def tell(self, event: Event, text: str) -> Iterator[Frame]:
        """A piece of text."""
        if text:
            yield self._event("output_text.delta", **self._place, delta=text, logprobs=[])

    def whole(self, turn: Turn, reply: Reply) -> dict[str, Any]:
        """The answer."""
        short = reply.reason == "length" and turn.sampling.tokens > 0
        status = "incomplete" if short else "completed"
        read, wrote = len(turn.tokens), len(reply.wrote)
        made = self._object(status, [self._message(reply.text, status)])
        made["incomplete_details"] = {"reason": "max_output_tokens"} if short else None
        made["usage"] = {
            "input_tokens": read,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": wrote,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": read + wrote,
        }
        return made

    def end(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """All of it once more."""
        (item,) = whole["output"]
        text, part = item["content"][0]["text"], item["content"][0]
        yield self._event("output_text.done", **self._place, text=text, logprobs=[])
        yield self._event("content_part.done", **self._place, part=part)
        yield self._event("output_item.done", output_index=0, item=item)
        yield self._event(whole["status"], response=whole)

    def again(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """All of the text at once."""
        text = whole["output"][0]["content"][0]["text"]
        yield self._event("output_text.delta", **self._place, delta=text, logprobs=[])

    @property
    def _place(self) -> dict[str, Any]:
        return {"item_id": self._item, "output_index": 0, "content_index": 0}

    @property
    def _item(self) -> str:
        return self.name.replace("resp_", "msg_")

    def _event(self, kind: str, **data: Any) -> Frame:
        self.count += 1
        name = f"response.{kind}"
        return Frame({"type": name, "sequence_number": self.count, **data}, name)

    def _message(self, text: str, status: str) -> dict[str, Any]:
        about = {"id": self._item, "type": "message", "role": "assistant", "status": status}
        return {**about, "content": [_part(text)]}

    def _object(self, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
        body = self.body
        return {
            "id": self.name,
            "object": "response",
            "created_at": int(time.time()),
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": body.instructions,
            "model": self.service.name,
            "output": output,
            "previous_response_id": self.previous,
            "conversation": {"id": body.goes_on} if body.goes_on else None,
            "max_output_tokens": body.max_output_tokens,
            "temperature": 1.0 if body.temperature is None else body.temperature,
            "top_p": 1.0 if body.top_p is None else body.top_p,
            "store": body.store is not False,
            "metadata": {},
            "parallel_tool_calls": False,
            "tool_choice": "none",
            "tools": [],
        }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": []}


@router.post("/v1/responses")
async def respond_to(
    request: HttpRequest, body: ResponseBody, service: Served, owner: Owner
) -> Response:
    """Go on with a text. An answer is a version: it can be gone on from any number of times."""
    service.require_model(body.model)
    if sum(x is not None for x in (body.previous_response_id, body.goes_on, body.memory)) > 1:
        message = "Name one of previous_response_id, conversation and memory: they exclude others."
        raise ApiError(400, message, param="previous_response_id")
    previous = body.previous_response_id
    memory = await asyncio.to_thread(_memory, service, owner, body)
    kept = body.store is not False

    async def plan() -> Turn:
        return await asyncio.to_thread(_turn, service, owner, memory, body)

    shape = TextResponse(service, body, f"resp_{uuid.uuid4().hex}", previous)
    retry = retry_of(request, body.model_dump()) if kept else None
    held = memory if kept and previous is None else None
    size = len(body.text(service, first=False).encode())
    items = answered(service.turns, service.metrics, Request(shape, plan, held, size, retry))
    return await respond(request, items, stream=bool(body.stream))


def _memory(service: Service, owner: str, body: ResponseBody) -> str:
    """The id of the memory that is meant."""
    if body.previous_response_id:
        memory = service.store.response(owner, body.previous_response_id).memory
        if memory is None:
            message = "The memory of this answer was deleted. Go on in a fork: name it as `memory`."
            raise ApiError(404, message, param="previous_response_id")
        return memory
    return service.chosen(owner, body.goes_on or body.memory).id


def _turn(service: Service, owner: str, memory: str, body: ResponseBody) -> Turn:
    """What is to be read, and where: a text begins, unless one is gone on with."""
    store, tokenizer = service.store, service.tokenizer
    if body.previous_response_id:
        parent, head = store.response(owner, body.previous_response_id), None
    else:
        parent = store.memory(owner, memory).head
        head = parent.id
    goes_on = bool(body.previous_response_id or body.goes_on) and parent.ledger > 0
    tokens = tokenizer.encode(body.text(service, first=not goes_on)).tolist()
    return Turn(
        owner=owner,
        memory=memory,
        parent=parent,
        head=head,
        tokens=tokens if goes_on else [tokenizer.separator, *tokens],
        ledger="extend" if goes_on else "begin",
        kind="response",
        sampling=body.sampling(256 if body.max_output_tokens is None else body.max_output_tokens),
    )
