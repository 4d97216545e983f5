"""The unmodified `openai` client."""

import openai
import pytest

from sparsemeta.lm import Sampling, Writer
from tests.serve.served import BYTES

PROMPT = "the cat sat on the mat"


def test_models(client):
    (model,) = client.models.list()
    assert model.id == "tiny"
    assert client.models.retrieve("tiny").id == "tiny"
    with pytest.raises(openai.NotFoundError, match="no model 'gpt'"):
        client.models.retrieve("gpt")


def test_a_completion_is_what_a_writer_writes(client, server):
    found = client.completions.create(model="tiny", prompt=PROMPT, max_tokens=20, seed=3)
    writer = Writer(server.model, BYTES, PROMPT, None, Sampling(tokens=20, seed=3))
    (choice,) = found.choices
    assert choice.text == "".join(writer.pieces())
    assert found.usage.prompt_tokens == len(PROMPT)


def test_streams_say_the_same(client):
    options = {"model": "tiny", "prompt": PROMPT, "max_tokens": 20, "seed": 3, "logprobs": 2}
    whole = client.completions.create(**options, echo=True).choices[0]
    usage = {"include_usage": True}
    chunks = list(
        client.completions.create(**options, echo=True, stream=True, stream_options=usage)
    )
    parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert "".join(part.text for part in parts) == whole.text
    nats = [x for part in parts if part.logprobs for x in part.logprobs.token_logprobs]
    assert nats == pytest.approx(whole.logprobs.token_logprobs, rel=1e-4)
    assert parts[-1].finish_reason == whole.finish_reason
    assert chunks[-1].usage.prompt_tokens == len(PROMPT)


def test_reading_with_surprise(client, server):
    options = {"model": "tiny", "max_tokens": 0, "echo": True, "logprobs": 5}
    told = client.completions.create(prompt=PROMPT, **options).choices[0].logprobs
    ids = list(PROMPT.encode())
    again = client.completions.create(prompt=[256, *ids], **options).choices[0].logprobs
    assert "".join(told.tokens) == PROMPT
    assert again.token_logprobs[0] is None
    assert again.token_logprobs[1:] == pytest.approx(told.token_logprobs, rel=1e-4)
    assert all(len(top) in (5, 6) for top in told.top_logprobs)
    assert told.text_offset == list(range(len(PROMPT)))


def test_several_prompts(client):
    options = {"model": "tiny", "max_tokens": 5, "seed": 1}
    found = client.completions.create(prompt=[PROMPT, "other"], **options)
    alone = [client.completions.create(prompt=p, **options) for p in (PROMPT, "other")]
    assert [c.text for c in found.choices] == [c.choices[0].text for c in alone]
    assert [c.index for c in found.choices] == [0, 1]
    with pytest.raises(openai.BadRequestError, match="one at a time"):
        client.completions.create(prompt=[PROMPT, "other"], stream=True, **options)


def test_stop(client):
    options = {"model": "tiny", "prompt": PROMPT, "max_tokens": 40, "seed": 7}
    text = client.completions.create(**options).choices[0].text
    stop = text[4:6]
    choice = client.completions.create(**options, stop=[stop]).choices[0]
    assert choice.text == text[: text.index(stop)]
    assert choice.finish_reason == "stop"
    chunks = client.completions.create(**options, stop=stop, stream=True)
    assert "".join(chunk.choices[0].text for chunk in chunks) == choice.text


def test_responses(client):
    first = client.responses.create(model="tiny", input=PROMPT, max_output_tokens=9)
    assert first.status == "incomplete"
    assert first.incomplete_details.reason == "max_output_tokens"
    options = {"model": "tiny", "input": "and", "previous_response_id": first.id}
    with client.responses.stream(**options, max_output_tokens=9, temperature=0) as stream:
        events = list(stream)
    then = client.responses.create(**options, max_output_tokens=9, temperature=0)
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    assert "".join(deltas) == then.output_text
    assert events[0].type == "response.created"
    assert events[-1].response.output_text == then.output_text
    assert [e.sequence_number for e in events] == list(range(len(events)))


def test_a_conversation_goes_on(client):
    conversation = client.conversations.create()
    options = {"model": "tiny", "max_output_tokens": 4, "temperature": 0}
    told = [
        client.responses.create(input=text, conversation=conversation.id, **options)
        for text in ("one", "two")
    ]
    alone = client.responses.create(
        input="one", **options, conversation=client.conversations.create().id
    )
    after = client.responses.create(input="two", **options, previous_response_id=alone.id)
    assert [x.output_text for x in told] == [alone.output_text, after.output_text]
    assert client.conversations.retrieve(conversation.id).id == conversation.id
    assert client.conversations.delete(conversation.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.responses.create(input="three", conversation=conversation.id, **options)


def test_chat(client):
    messages = [{"role": "user", "content": "hello"}]
    options = {"model": "tiny", "max_tokens": 9, "seed": 2}
    whole = client.chat.completions.create(
        messages=messages, logprobs=True, top_logprobs=2, store=False, **options
    )
    chunks = client.chat.completions.create(messages=messages, stream=True, store=False, **options)
    said = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(said) == whole.choices[0].message.content
    assert len(whole.choices[0].logprobs.content[0].top_logprobs) == 2


@pytest.mark.parametrize(
    ("call", "options", "kind", "match"),
    [
        ("completions", {"prompt": "a", "model": "gpt"}, openai.NotFoundError, "no model 'gpt'"),
        ("completions", {"prompt": [999]}, openai.BadRequestError, "0 to 256"),
        ("completions", {"prompt": "a", "n": 2}, openai.BadRequestError, "n: "),
        ("completions", {"prompt": "a", "max_tokens": -1}, openai.BadRequestError, "max_tokens"),
        ("completions", {"prompt": "a", "logprobs": 6}, openai.BadRequestError, "logprobs"),
        ("responses", {"input": ""}, openai.BadRequestError, "input"),
        (
            "responses",
            {"input": "a", "previous_response_id": "resp_x"},
            openai.NotFoundError,
            "none",
        ),
        ("responses", {"input": "a", "conversation": "conv_x"}, openai.NotFoundError, "none"),
    ],
)
def test_refusals(client, call, options, kind, match):
    with pytest.raises(kind, match=match) as raised:
        getattr(client, call).create(**{"model": "tiny", **options})
    assert raised.value.body["type"] == "invalid_request_error"


def test_who_has_no_key_is_nobody(server):
    for key in ("nothing", "sparsemeta-" + "x" * 43):
        with server.openai(key) as client, pytest.raises(openai.AuthenticationError):
            client.models.list()
