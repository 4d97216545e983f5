"""Networks without language: a session carries their memory, and streams do not touch."""

import asyncio
import threading

import pytest
import torch
from torch import nn

from sparsemeta import memories, session
from sparsemeta.errors import ConfigError, StateError
from sparsemeta.fast_weights import FastWeights
from tests.tiny import assert_same_state as same

from .zoo import PLAIN, call, plain, stream


def run(model, name, x, feedback, memory=None, **options):
    """What a network returns, and its memory after."""
    with session(model, memory, feedback=feedback, streams=len(x), **options) as s:
        return call(model, name, x), s.memory


@pytest.mark.parametrize("name", PLAIN)
def test_streams(name):
    """Split, permuted, masked, reset and read without writing: all as they should be."""
    model, (x, feedback) = plain(name), stream(name)
    whole, after = run(model, name, x, feedback)
    if name != "encoder" and name != "lstm":  # those two see the past by themselves
        first, memory = run(model, name, x[:, :2], feedback[:, :2])
        second, memory = run(model, name, x[:, 2:], feedback[:, 2:], memory)
        torch.testing.assert_close(torch.cat([first, second], 1), whole)
        same(memory, after)

    turned, memory = run(model, name, x.flip(0), feedback.flip(0))
    torch.testing.assert_close(turned.flip(0), whole)
    same(memory.select([1, 0]), after)
    lone, memory = run(model, name, x[:1], feedback[:1])
    torch.testing.assert_close(lone, whole[:1])
    same(memory, after.select([0]))

    mask = torch.ones(x.shape[:2], dtype=torch.bool)
    mask[0] = False
    _, memory = run(model, name, x, feedback, after, mask=mask)
    same(memory.select([0]), after.select([0]))
    reset = torch.zeros(x.shape[:2], dtype=torch.bool)
    reset[:, 0] = True
    again, memory = run(model, name, x, feedback, after, reset=reset)
    torch.testing.assert_close(again, whole)
    same(memory, after)


@pytest.mark.parametrize("name", PLAIN)
def test_reading_without_writing(name):
    """A stream that is not written keeps its rows; the others are as without it."""
    model, (x, feedback) = plain(name), stream(name)
    _, before = run(model, name, x, feedback)
    other, _ = stream(name, seed=1)
    written, after = run(model, name, other, feedback, before)
    mixed, memory = run(model, name, other, feedback, before, write=torch.tensor([False, True]))
    torch.testing.assert_close(mixed[1], written[1])
    assert not torch.allclose(mixed[0], written[0])
    same(memory.select([1]), after.select([1]))
    tables = [next(iter(m.layers.values())).table for m in (memory, before, after)]
    assert torch.equal(tables[0][0], tables[1][0])
    assert not torch.equal(tables[0][0], tables[2][0])
    nothing, memory = run(model, name, other, feedback, before, write=False)
    torch.testing.assert_close(nothing[0], mixed[0])


def test_feedback_and_gradients_reach_the_memory():
    model, (x, feedback) = plain("mlp"), stream("mlp")
    with session(model, feedback=feedback, streams=2) as s:
        call(model, "mlp", x)
        s.feedback = -feedback
        told = call(model, "mlp", x)
        told.square().sum().backward()
        s.detach()
        assert not any(t.requires_grad for t in s.memory.tensors().values())
    assert not torch.equal(told, run(model, "mlp", x, feedback)[0])
    lacking = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert lacking == []
    base = [p for n, p in model.named_parameters() if "fast_memory" not in n]
    assert not any(p.requires_grad or p.grad is not None for p in base)


def test_sessions_nest_and_leave_nothing_behind():
    model, (x, feedback) = plain("mlp"), stream("mlp")
    with session(model, feedback=feedback, streams=2) as outer:
        call(model, "mlp", x)
        kept = outer.memory
        with session(model, kept, feedback=feedback) as inner:
            call(model, "mlp", x)
        assert outer.memory is kept
        same(inner.memory, run(model, "mlp", x, feedback, kept)[1])
        with pytest.raises(RuntimeError):
            model(torch.zeros(12, 99).double())
        assert outer.memory is kept
        same(outer.memory, kept)
        call(model, "mlp", x)
    same(outer.memory, inner.memory)
    with pytest.raises(ValueError, match="nobody has said whose"), session(plain("conv")):
        call(model, "mlp", x)
    with pytest.raises(KeyError), session(model):
        raise KeyError
    with pytest.raises(ConfigError, match=r"with session\(model, memory\)"):
        call(model, "mlp", x)


def test_threads_and_tasks_equal_serial():
    model = plain("mlp")
    work = [stream("mlp", seed=seed) for seed in range(32)]
    expected = [run(model, "mlp", *given) for given in work]
    found = {}

    def thread(i):
        found[i] = run(model, "mlp", *work[i])

    threads = [threading.Thread(target=thread, args=(i,)) for i in range(32)]
    for started in threads:
        started.start()
    for started in threads:
        started.join()

    async def task(i):
        x, feedback = work[i % 32]
        with session(model, streams=2) as s:
            parts = []
            for t in range(x.shape[1]):
                s.feedback = feedback[:, t : t + 1]
                parts.append(call(model, "mlp", x[:, t : t + 1]))
                await asyncio.sleep(0)
        return torch.cat(parts, 1), s.memory

    async def every():
        return await asyncio.gather(*map(task, range(100)))

    for i, (y, memory) in [*found.items(), *enumerate(asyncio.run(every()))]:
        torch.testing.assert_close(y, expected[i % 32][0])
        same(memory, expected[i % 32][1])


def test_a_memory_is_saved_and_loaded(tmp_path):
    model, (x, feedback) = plain("conv"), stream("conv")
    _, memory = run(model, "conv", x, feedback)
    memory.save(tmp_path / "memory", memories(model))
    same(FastWeights.load(tmp_path / "memory", memories(model)), memory)
    nn.init.normal_(next(memories(model).parameters()))
    with pytest.raises(StateError, match="another model"):
        FastWeights.load(tmp_path / "memory", memories(model))
    with (
        pytest.raises(StateError, match="Pass what this model returned"),
        session(plain("mlp"), memory),
    ):
        pass
