"""A language model that threads and asyncio tasks share, each with a memory of its own."""

import asyncio
import threading

import pytest
import torch

from sparsemeta import MemoryCache, session
from tests.tiny import assert_same_state as same

from .zoo import lm, text

THREADS, TASKS, TOKENS = 32, 100, 2


@pytest.fixture(scope="module")
def model():
    return lm("GPT2")


def step(model, cache, token):
    with torch.no_grad():
        return model(token, past_key_values=cache).logits[:, -1:].argmax(-1)


def alone(model, seed):
    """The tokens that follow a text, and the memory after."""
    cache = MemoryCache(model)
    token = step(model, cache, text(batch=1, seed=seed))
    found = [token]
    for _ in range(TOKENS):
        found.append(step(model, cache, found[-1]))
    return torch.cat(found, 1), cache.memory


@pytest.fixture(scope="module")
def expected(model):
    return [alone(model, seed) for seed in range(THREADS)]


def test_threads_equal_serial(model, expected):
    found, begin = {}, threading.Barrier(THREADS)

    def work(seed):
        begin.wait()
        found[seed] = alone(model, seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(THREADS)]
    for started in threads:
        started.start()
    for started in threads:
        started.join()
    for seed, (tokens, memory) in found.items():
        assert torch.equal(tokens, expected[seed][0])
        same(memory, expected[seed][1])
    assert len(found) == THREADS


def test_tasks_equal_serial(model, expected):
    """Each gives way to the others after every token, and every third fails in between."""

    async def task(i):
        seed = i % THREADS
        cache = MemoryCache(model)
        found = [step(model, cache, text(batch=1, seed=seed))]
        for _ in range(TOKENS):
            await asyncio.sleep(0)
            if i % 3 == 0:
                with pytest.raises(IndexError), session(model, cache.memory):
                    step(model, None, torch.full((1, 1), 10**6))
            found.append(step(model, cache, found[-1]))
        return torch.cat(found, 1), cache.memory

    async def every():
        return await asyncio.gather(*map(task, range(TASKS)))

    for i, (tokens, memory) in enumerate(asyncio.run(every())):
        assert torch.equal(tokens, expected[i % THREADS][0])
        same(memory, expected[i % THREADS][1])
