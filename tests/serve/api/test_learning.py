"""What is learned, and that it is learned once, by whom it should."""

import json

import openai
import pytest

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm import Document, Reader, passages
from tests.serve.served import BYTES
from tests.tiny import assert_same_state

OPTIONS = {"model": "tiny", "max_tokens": 6, "temperature": 0}
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def memory_of(http, server, memory="default", version=None):
    params = {"version": version} if version else {}
    content = http.get(f"/v1/memories/{memory}/content", params=params)
    assert content.status_code == 200
    path = server.scratch / "downloaded.safetensors"
    path.write_bytes(content.content)
    return FastWeights.load(path, server.model)


def turns_of(client, count=4, *, memory="chat", texts=()):
    """A chat that sends its whole history each time, as chat clients do."""
    messages, told = [], []
    for turn in range(count):
        text = texts[turn] if turn < len(texts) else f"turn {turn}"
        messages.append({"role": "user", "content": text})
        found = client.chat.completions.create(
            messages=messages, extra_body={"memory": memory}, **OPTIONS
        )
        messages.append({"role": "assistant", "content": found.choices[0].message.content})
        told.append(found)
    return messages, told


def test_a_chat_that_is_sent_again_is_learned_once(client, http, server):
    http.post("/v1/memories", json={"name": "chat"})
    messages, told = turns_of(client, 10)
    new = [t.usage.prompt_tokens - t.usage.prompt_tokens_details.cached_tokens for t in told]
    assert all(n < 40 for n in new)

    template = "</><user>{}</><assistant>"
    options = {"model": "tiny", "max_output_tokens": 6, "temperature": 0}
    answer = client.responses.create(input="turn 0", **options, extra_body={"memory": _new(http)})
    answers = [answer]
    for turn in range(1, 10):
        options["previous_response_id"] = answers[-1].id
        answers.append(client.responses.create(input=f"turn {turn}", **options))
    assert [a.output_text for a in answers] == [m["content"] for m in messages[1::2]]
    by_chat = memory_of(http, server, "chat")
    by_response = memory_of(http, server, answers[-1].memory, answers[-1].version)
    assert_same_state(by_response, by_chat, **CLOSE)

    said = [m["content"] for m in messages]
    whole = f"<user>{said[0]}</><assistant>{said[1]}" + "".join(
        template.format(user) + assistant
        for user, assistant in zip(said[2::2], said[3::2], strict=True)
    )
    once = http.post(f"/v1/memories/{_new(http)}/read", json={"text": whole}).json()
    assert_same_state(memory_of(http, server, once["memory"]), by_chat, **CLOSE)


def _new(http):
    return http.post("/v1/memories", json={}).json()["id"]


def test_an_edit_forks(client, http):
    http.post("/v1/memories", json={"name": "chat"})
    messages, _ = turns_of(client, 4)
    before = http.get("/v1/memories/chat").json()
    edited = [*messages[:4], {"role": "user", "content": "something else"}]
    found = client.chat.completions.create(
        messages=edited, extra_body={"memory": "chat"}, **OPTIONS
    )
    after = http.get("/v1/memories/chat").json()
    versions = {v["id"]: v for v in http.get("/v1/memories/chat/versions").json()["data"]}
    assert found.usage.prompt_tokens_details.cached_tokens > 0
    assert len(versions) == 6  # empty, four turns, and the other third
    ancestors = [before["version"]]
    while parent := versions[ancestors[-1]]["parent"]:
        ancestors.append(parent)
    assert versions[after["version"]]["parent"] == ancestors[2]  # after turn 2
    back = http.post("/v1/memories/chat/undo", json={"to": before["version"]}).json()
    assert back["version"] == before["version"]  # the old branch is alive


def test_a_retry_is_learned_once(http):
    body = {"model": "tiny", "input": "learn this", "max_output_tokens": 5}
    first = http.post("/v1/responses", json=body)
    again = http.post("/v1/responses", json=body, headers={"x-stainless-retry-count": "1"})
    assert again.json() == first.json()
    stream = http.post(
        "/v1/responses", json=body | {"stream": True}, headers={"x-stainless-retry-count": "2"}
    )
    assert stream.status_code == 200
    keyed = {"idempotency-key": "one"}
    read = [
        http.post("/v1/memories/default/read", json={"text": "abc"}, headers=keyed) for _ in "ab"
    ]
    assert read[0].json() == read[1].json()
    other = http.post("/v1/memories/default/read", json={"text": "xyz"}, headers=keyed)
    assert other.status_code == 409
    assert other.headers["x-should-retry"] == "false"
    kinds = [v["kind"] for v in http.get("/v1/memories/default/versions").json()["data"]]
    assert kinds.count("read") == 1


def test_reading_is_what_the_command_reads(http, server):
    texts = ["the cat sat on the mat. " * 20, "a dog. " * 9]
    reader = Reader(server.model)
    for text, passage in zip(texts, passages(BYTES, [Document("", t) for t in texts]), strict=True):
        score = reader.read(passage)
        found = http.post("/v1/memories/default/read", json={"text": text}).json()
        nats = [nats for _, nats in found["tokens"]]
        assert nats == pytest.approx(score.token_nats.tolist(), rel=1e-3, abs=1e-4)
    assert_same_state(memory_of(http, server), reader.memory, **CLOSE)


def test_reading_again_surprises_less(http):
    text = {"text": "zorblax is the capital of quondor. " * 3}
    nats = [http.post("/v1/memories/default/read", json=text).json()["nats"] for _ in "abc"]
    assert nats[0] > nats[1]


def test_the_stream_of_a_reading_tells_all(http):
    body = {"text": "the cat " * 99, "store": False}
    whole = http.post("/v1/memories/default/read", json=body).json()
    lines = http.post("/v1/memories/default/read", json=body | {"stream": True}).text.splitlines()
    data = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    tokens = [token for part in data[:-1] for token in part["tokens"]]
    assert [t for t, _ in tokens] == [t for t, _ in whole["tokens"]]
    assert [n for _, n in tokens] == pytest.approx([n for _, n in whole["tokens"]], rel=1e-4)
    assert data[-1]["count"] == len(tokens) == 99 * 8
    assert http.get("/v1/memories/default").json()["steps"] == 0


def test_nobody_sees_what_is_anothers(client, server):
    mine = client.responses.create(model="tiny", input="a secret", max_output_tokens=2)
    with server.openai() as other, server.http(other.api_key) as http:
        with pytest.raises(openai.NotFoundError):
            other.responses.create(model="tiny", input="x", previous_response_id=mine.id)
        for path in ("", "/versions", "/content", "/events"):
            assert http.get(f"/v1/memories/{mine.memory}{path}").status_code == 404
        assert http.delete(f"/v1/memories/{mine.memory}").status_code == 404
        params = {"version": mine.version}
        assert http.get("/v1/memories/default/content", params=params).status_code == 404


def test_what_is_not_stored_is_forgotten(client, http):
    for options in ({"store": False}, {"store": False, "stream": True}):
        answer = client.responses.create(
            model="tiny", input="forget", max_output_tokens=3, **options
        )
        if "stream" in options:
            list(answer)
    client.completions.create(model="tiny", prompt="forget", max_tokens=3)
    assert len(http.get("/v1/memories/default/versions").json()["data"]) == 1
