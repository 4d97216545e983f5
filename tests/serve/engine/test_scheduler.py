import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import ConfigError
from sparsemeta.lm import Sampling, Writer
from sparsemeta.lm.text.tokenizer import ByteTokenizer
from sparsemeta.serve.engine import Finished, Read, Snapshot, Task, Wrote, empty
from sparsemeta.serve.engine.scheduler import ALONE, BESIDE, Scheduler
from tests.tiny import OUTPUT, assert_same_state, tiny_model

BYTES = ByteTokenizer()
TEXTS = ("", "a", "the cat", "abcabcabd" * 9, "x" * 300)
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""How far a stream may be from the same stream alone: another batch rounds otherwise."""


@pytest.fixture(scope="module")
def model():
    return tiny_model(output=OUTPUT).eval()


def task(text, tokens=0, *, seed=0, begin=None, **options):
    ids = np.array([*([] if begin else [256]), *text.encode()], np.int64)
    return Task(begin, ids, Sampling(tokens=tokens, seed=seed), **options)


def events_of(scheduler, tasks, *, each_turn=lambda: None):
    """All that is told of tasks until there is nothing left to do."""
    told = {task: [] for task in tasks}
    for one in tasks:
        scheduler.add(one)
    while not scheduler.idle:
        for one, event in scheduler.turn():
            if isinstance(event, Exception):
                raise event
            told[one].append(event)
        each_turn()
    return [told[one] for one in tasks]


def alone(model, one):
    return events_of(Scheduler(model, BYTES), [one])[0]


def written(events):
    return [event.token.token for event in events if isinstance(event, Wrote)]


def nats(events):
    read = (t for event in events if isinstance(event, Read) for t in event.tokens)
    return [t.log_p for t in read if t.log_p is not None]


@pytest.mark.parametrize(
    ("layers", "output"), [((1,), ()), ((), OUTPUT), ((0, 1), OUTPUT)], ids=str
)
def test_many_write_what_a_writer_does_and_remember_it(layers, output):
    model = tiny_model(memory_layers=layers, output=output).eval()
    asked = [task(TEXTS[i % 5], 5 + 3 * i, seed=i) for i in range(8)]
    for i, events in enumerate(events_of(Scheduler(model, BYTES), asked)):
        sampling = Sampling(tokens=5 + 3 * i, seed=i)
        writer = Writer(model, BYTES, TEXTS[i % 5], None, sampling)
        assert written(events) == list(writer)
        assert list(events[-1].wrote) == written(events)
        assert_same_state(events[-1].after.state, writer.state, **CLOSE)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(TEXTS), st.integers(0, 12)), min_size=1, max_size=6))
def test_in_any_company_a_stream_is_as_alone(model, asked):
    tasks = [task(text, many, seed=i, top=2) for i, (text, many) in enumerate(asked)]
    for i, events in enumerate(events_of(Scheduler(model, BYTES, 3), tasks)):
        expected = alone(model, task(*asked[i], seed=i, top=2))
        assert written(events) == written(expected)
        assert nats(events) == pytest.approx(nats(expected), rel=1e-4, abs=1e-5)
        assert_same_state(events[-1].after.state, expected[-1].after.state, **CLOSE)
        assert events[-1].reason == expected[-1].reason


def test_a_stream_goes_on_as_if_it_had_never_stopped(model):
    first = alone(model, task("once upon "))[-1].after
    then = alone(model, task("a time", 9, begin=first))
    whole = alone(model, task("once upon a time", 9))
    assert written(then) == written(whole)
    assert nats(then) == pytest.approx(nats(whole)[-6:], rel=1e-4, abs=1e-5)
    assert_same_state(then[-1].after.state, whole[-1].after.state, **CLOSE)


def test_what_it_began_with_stays_as_it_was(model):
    begin = alone(model, task("once upon a time"))[-1].after
    kept = begin.state.clone()
    company = [task("x", 20, begin=begin, seed=i) for i in range(3)]
    events_of(Scheduler(model, BYTES), company)
    assert_same_state(begin.state, kept, rtol=0, atol=0)


def test_nothing_to_read_is_enough_to_write_from_a_prediction(model):
    begin = alone(model, task("once upon a time"))[-1].after
    assert written(alone(model, task("", 5, begin=begin)))
    with pytest.raises(ConfigError, match="nothing to go on from"):
        alone(model, Task(Snapshot(model.begin(empty(model))), np.array([], np.int64)))


@pytest.mark.parametrize("turns", [0, 1, 2, 4, 7])
def test_whoever_goes_leaves_the_others_as_they_were(model, turns):
    staying = [task("the cat", 12, seed=1), task("a dog", 12, seed=2)]
    going = task("x" * 300, 9)
    count = iter(range(10_000))

    def go():
        going.cancelled = going.cancelled or next(count) >= turns

    *found, gone = events_of(Scheduler(model, BYTES), [*staying, going], each_turn=go)
    assert not any(isinstance(event, Finished) for event in gone)
    for events, text, seed in zip(found, ("the cat", "a dog"), (1, 2), strict=True):
        expected = alone(model, task(text, 12, seed=seed))
        assert written(events) == written(expected)
        assert_same_state(events[-1].after.state, expected[-1].after.state, **CLOSE)


def test_a_long_text_delays_the_others_by_a_segment_only(model):
    scheduler = Scheduler(model, BYTES)
    long, chat = task("y" * 5_000), task("hi", 40)
    scheduler.add(long)
    scheduler.add(chat)
    order = []
    while not scheduler.idle:
        for one, event in scheduler.turn():
            size = len(event.tokens) if isinstance(event, Read) else 0
            order.append((one is long, size))
    first, last = (f(i for i, (is_long, _) in enumerate(order) if not is_long) for f in (min, max))
    beside = [size for is_long, size in order[first + 1 : last] if is_long]
    assert first <= 1
    assert max(beside) <= BESIDE + 1 < ALONE
    assert len(beside) >= 38  # both went on at once


def test_one_failure_is_one_users(model, monkeypatch):
    scheduler = Scheduler(model, BYTES)
    predict = model.predict

    def failing(tokens, *args, **options):
        if (tokens == ord("!")).any():
            raise RuntimeError("boom")
        return predict(tokens, *args, **options)

    monkeypatch.setattr(model, "predict", failing)
    good, bad = task("fine", 5), task("a!b", 5)
    scheduler.add(good)
    scheduler.add(bad)
    told = []
    while not scheduler.idle:
        told += scheduler.turn()
    assert [str(event) for one, event in told if one is bad] == ["boom"]
    assert isinstance(next(event for one, event in reversed(told) if one is good), Finished)


def test_stop_strings(model):
    whole = alone(model, task("the cat", 30, seed=5))
    text = "".join(e.text for e in whole if not isinstance(e, Read))
    stop = text[6:9]
    ended = alone(model, task("the cat", 30, seed=5, stop=(stop, "nowhere")))
    found = "".join(e.text for e in ended if not isinstance(e, Read))
    assert found == text[: text.index(stop)]
    assert ended[-1].reason == "stop"
    assert len(ended[-1].wrote) == len(written(ended)) - 1  # the last was not read


def test_sizes_that_differ_much_are_not_joined(model):
    scheduler = Scheduler(model, BYTES)
    scheduler.add(task("z" * 3000, 200))
    scheduler.add(task("z", 200))
    most = 0
    while not scheduler.idle:
        scheduler.turn()
        most = max(most, len(scheduler._cohorts))
    assert most == 2


def test_predictions_of_a_batch_are_those_of_one(model):
    asked = [task(text, 3, seed=i, top=5) for i, text in enumerate(TEXTS)]
    for i, events in enumerate(events_of(Scheduler(model, BYTES), asked)):
        expected = alone(model, task(TEXTS[i], 3, seed=i, top=5))
        found, wanted = (torch.tensor(x[-1].after.log_p.exp().tolist()) for x in (events, expected))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)
