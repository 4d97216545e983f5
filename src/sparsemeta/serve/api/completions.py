"""`/v1/completions`: a prompt gone on with, or read and scored."""

import asyncio
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import APIRouter, Request as HttpRequest, Response
from fastapi.responses import JSONResponse
from pydantic import Field

from sparsemeta.serve.api.access import retry_of
from sparsemeta.serve.api.errors import ApiError
from sparsemeta.serve.api.replies import Reply, Request, Shape, answered
from sparsemeta.serve.api.requests import Many, Stopped
from sparsemeta.serve.api.service import Owner, Served, Service
from sparsemeta.serve.api.streaming import Frame, Whole, respond, unless_gone
from sparsemeta.serve.api.turns import Turn
from sparsemeta.serve.api.wording import completion_logprobs, usage
from sparsemeta.serve.engine import Choice, Event, Read, Wrote
from sparsemeta.serve.store import Memory

router = APIRouter()

Token = Annotated[int, Field(ge=0, lt=2**31)]
Tokens = Annotated[list[Token], Field(min_length=1)]


class CompletionBody(Stopped):
    """What is to be gone on with."""

    prompt: str | Tokens | Annotated[list[str] | list[Tokens], Field(min_length=1, max_length=64)]
    max_tokens: Many | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    store: bool = False
    """Whether the memory learns from it; several prompts are not learned."""
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    suffix: Annotated[str, Field(max_length=0)] | None = None

    @property
    def prompts(self) -> list[str] | list[list[int]]:
        """One or several."""
        given = self.prompt
        if isinstance(given, str):
            return [given]
        if isinstance(given[0], int):
            return [cast(list[int], given)]
        return cast(list[str] | list[list[int]], given)


@dataclass
class Completion(Shape):
    """The answer to one prompt."""

    service: Service
    body: CompletionBody
    prompt: str
    opened: bool  # whether the separator that opens the text is part of the prompt
    name: str
    begun: bool = False  # whether the prompt was told

    def tell(self, event: Event, text: str) -> Iterator[Frame]:
        """A piece of text, with the logarithms of its tokens."""
        tokens: Sequence[Choice] = ()
        if isinstance(event, Wrote):
            tokens = (event.token,)
        elif isinstance(event, Read) and self.body.echo:
            skipped = 0 if self.opened or self.begun else 1
            text, tokens = "" if self.begun else self.prompt, event.tokens[skipped:]
            self.begun = True
        if tokens or text:
            yield self._frame(text, self._logprobs(tokens))

    def _logprobs(self, tokens: Sequence[Choice]) -> dict[str, Any] | None:
        top = self.body.logprobs
        if top is None:
            return None
        return completion_logprobs(self.service.tokenizer, tokens, top)

    def _frame(self, text: str, logprobs: Any = None, reason: str | None = None) -> Frame:
        choice = {"index": 0, "text": text, "logprobs": logprobs, "finish_reason": reason}
        return Frame(self._object([choice]))

    def _object(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        about = {"id": self.name, "object": "text_completion", "created": int(time.time())}
        return {**about, "model": self.service.name, "choices": choices}

    def whole(self, turn: Turn, reply: Reply) -> dict[str, Any]:
        """The completion."""
        read = reply.read if self.opened else reply.read[1:]
        tokens = [*(read if self.body.echo else []), *reply.wrote]
        choice = {
            "index": 0,
            "text": (self.prompt if self.body.echo else "") + reply.text,
            "logprobs": self._logprobs(tokens),
            "finish_reason": reply.reason,
        }
        return self._object([choice]) | {"usage": usage(len(read), len(reply.wrote))}

    def end(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """Why it ended, and how much it was."""
        yield self._frame("", reason=whole["choices"][0]["finish_reason"])
        if self.body.counts:
            yield Frame(self._object([]) | {"usage": whole["usage"]})
        yield Frame("[DONE]")

    def again(self, whole: dict[str, Any]) -> Iterator[Frame]:
        """All of the text at once."""
        yield self._frame(whole["choices"][0]["text"], whole["choices"][0]["logprobs"])


@router.post("/v1/completions")
async def complete(
    request: HttpRequest, body: CompletionBody, service: Served, owner: Owner
) -> Response:
    """Go on with a prompt, as a text of its own; with `echo` and `max_tokens` 0, score it."""
    service.require_model(body.model)
    memory = await asyncio.to_thread(service.chosen, owner, body.memory)
    prompts = body.prompts
    if len(prompts) > 1 and (body.stream or body.store):
        message = "Several prompts can be neither streamed nor stored: send one at a time."
        raise ApiError(400, message, param="prompt")
    name = f"cmpl-{uuid.uuid4().hex}"
    asked = [_asked(request, body, service, owner, memory, name, one) for one in prompts]
    answers = [answered(service.turns, service.metrics, one) for one in asked]
    if len(answers) == 1:
        return await respond(request, answers[0], stream=bool(body.stream))
    wholes = await unless_gone(request, asyncio.gather(*map(_last, answers)))
    return JSONResponse(_together(wholes))


def _asked(
    request: HttpRequest,
    body: CompletionBody,
    service: Service,
    owner: str,
    memory: Memory,
    name: str,
    prompt: str | list[int],
) -> Request:
    """One prompt as a turn of a memory."""
    tokenizer, separator = service.tokenizer, service.tokenizer.separator
    if isinstance(prompt, str):
        tokens, text, opened = [separator, *tokenizer.encode(prompt).tolist()], prompt, False
    else:
        if max(prompt) >= tokenizer.vocab_size:
            message = f"A token is none of 0 to {tokenizer.vocab_size - 1}."
            raise ApiError(400, message, param="prompt")
        opened = prompt[0] == separator
        text, tokens = tokenizer.decode(prompt), prompt if opened else [separator, *prompt]

    async def plan() -> Turn:
        now = await asyncio.to_thread(service.store.memory, owner, memory.id)
        many = 16 if body.max_tokens is None else body.max_tokens
        return Turn(
            owner=owner,
            memory=memory.id,
            parent=now.head,
            head=now.head.id,
            tokens=tokens,
            sampling=body.sampling(many, body.seed),
            stop=body.stops,
            top=body.logprobs or 0,
        )

    shape = Completion(service, body, text, opened, name)
    retry = retry_of(request, body.model_dump()) if body.store else None
    held = memory.id if body.store else None
    return Request(shape, plan, held, len(text.encode()), retry)


async def _last(items: Any) -> dict[str, Any]:
    async for item in items:
        if isinstance(item, Whole):
            return item.data
    raise RuntimeError("an answer without an end")


def _together(wholes: list[dict[str, Any]]) -> dict[str, Any]:
    """The completions of several prompts as one."""
    choices = [whole["choices"][0] | {"index": i} for i, whole in enumerate(wholes)]
    read, wrote = (
        sum(whole["usage"][name] for whole in wholes)
        for name in ("prompt_tokens", "completion_tokens")
    )
    return wholes[0] | {"choices": choices, "usage": usage(read, wrote)}
