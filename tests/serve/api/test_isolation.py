"""Many users at once, some of whom go away: each memory is as if its owner had been alone."""

import asyncio
import random

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm import Reader, passages
from sparsemeta.lm.text import Document
from tests.serve.served import BYTES, httpx
from tests.tiny import assert_same_state

USERS = 24
CLOSE = {"rtol": 1e-3, "atol": 1e-4}
"""How far a memory may be from one that was alone: other batches and segments round otherwise."""


def texts_of(user):
    """What a user lets his memory read: a secret, and what everybody reads."""
    secret = random.Random(user).randbytes(8).hex()
    return [f"my password is {secret}. " * 2, "the cat sat on the mat. " * (1 + user % 4)], secret


async def live(server, user, order):
    """Reads texts; between them asks for answers, and goes away before some are there."""
    texts, _ = texts_of(user)
    headers = {"authorization": f"Bearer {server.key(f'isolated {user}')}"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=120) as http:
        for text in texts:
            await asyncio.sleep(order.random() / 50)
            gone = {"model": "tiny", "input": "never mind " * 20, "max_output_tokens": 300}
            try:
                await http.post("/v1/responses", json=gone, timeout=order.random() / 10)
            except httpx.TimeoutException:
                pass
            else:
                raise AssertionError("it was to be cancelled")
            asked = {"model": "tiny", "prompt": text[:9], "max_tokens": order.randrange(1, 30)}
            await http.post("/v1/completions", json=asked)
            read = await http.post("/v1/memories/default/read", json={"text": text})
            assert read.status_code == 200
        found = await http.get("/v1/memories/default")
        assert found.json()["steps"] == sum(1 + len(text) for text in texts)
        secret = {}
        for other in (user, (user + 1) % USERS):
            body = {"text": f"my password is {texts_of(other)[1]}. ", "store": False}
            secret[other] = (await http.post("/v1/memories/default/read", json=body)).json()["nats"]
        return (await http.get("/v1/memories/default/content")).content, secret


def test_every_memory_is_as_if_it_were_alone(server):
    async def together():
        order = random.Random(0)
        users = order.sample(range(USERS), USERS)
        return dict(
            zip(users, await asyncio.gather(*(live(server, u, order) for u in users)), strict=True)
        )

    for user, (content, secrets) in asyncio.run(together()).items():
        texts, _ = texts_of(user)
        reader = Reader(server.model)
        for passage in passages(BYTES, [Document("", text) for text in texts]):
            reader.read(passage)
        path = server.scratch / f"{user}.safetensors"
        path.write_bytes(content)
        assert_same_state(FastWeights.load(path, server.model), reader.memory, **CLOSE)
        other = (user + 1) % USERS
        assert secrets[user] < secrets[other]  # my own I know, and no other


def test_a_secret_is_as_unlikely_to_another_as_to_somebody_new(server):
    texts, secret = texts_of(99)
    body = {"text": f"my password is {secret}. ", "store": False}
    with server.http() as mine, server.http() as other, server.http() as new:
        common = {"text": "my password is hidden. "}
        for http in (mine, other, new):
            http.post("/v1/memories/default/read", json=common)
        fresh = new.post("/v1/memories/default/read", json=body).json()["nats"]
        mine.post("/v1/memories/default/read", json={"text": texts[0]})
        told = other.post("/v1/memories/default/read", json=body).json()["nats"]
        assert told == fresh
        assert mine.post("/v1/memories/default/read", json=body).json()["nats"] < fresh


def test_who_goes_away_leaves_the_version_before(server):
    with server.http() as http:
        before = http.get("/v1/memories/default").json()
        body = {"model": "tiny", "input": "a", "max_output_tokens": 4000, "stream": True}
        with http.stream("POST", "/v1/responses", json=body) as answer:
            lines = answer.iter_lines()
            for _ in range(12):
                next(lines)
        # The next one waits until the head is free.
        read = http.post("/v1/memories/default/read", json={"text": "b"})
        assert read.status_code == 200
        versions = http.get("/v1/memories/default/versions").json()["data"]
        assert [v["parent"] for v in versions] == [before["version"], None]
