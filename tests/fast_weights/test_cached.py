"""A cache of hidden states is a list of the last ones, however it was written."""

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.config import TablesConfig
from sparsemeta.errors import StateError
from sparsemeta.fast_weights import CachedStates, CacheLayout, FastWeights
from sparsemeta.nn import TableMemory
from tests.fast_weights.states import equal, rewrite

SIZE, WIDTH, CLASSES = 4, 2, 7
LAYOUT = CacheLayout(SIZE, WIDTH, CLASSES)
step = st.tuples(st.integers(0, CLASSES - 1), st.booleans(), st.sampled_from([False] * 9 + [True]))
segments = st.lists(st.lists(step, min_size=1, max_size=9), max_size=4)


def empty(batch=1) -> CachedStates:
    return CachedStates.empty(LAYOUT, batch, torch.zeros(()))


def key(token: int, number: int) -> list[float]:
    return [token + 1.0, number + 1.0]


def read(state: CachedStates, steps, **options) -> CachedStates:
    """Write a segment of one stream."""
    token, written, reset = (torch.tensor([column]) for column in zip(*steps, strict=True))
    keys = torch.tensor([[key(int(y), i) for i, y in enumerate(token[0])]])
    return state.append(keys, token, written, reset if reset.any() else None, **options)


def listed(state: CachedStates, stream=0) -> list[tuple[list[float], int]]:
    """What it holds, oldest first."""
    place = state.place[stream]
    order = [int(i) for i in place.argsort() if place[i] >= 0]
    return [(state.key[stream, i].tolist(), int(state.token[stream, i])) for i in order]


def truth(parts) -> list[tuple[list[float], int]]:
    """The same by a plain list."""
    held = []
    for steps in parts:
        for i, (token, written, reset) in enumerate(steps):
            held = [] if reset else held
            held += [(key(token, i), token)] if written else []
    return held[-SIZE:]


def after(parts, state=None) -> CachedStates:
    state = state or empty()
    for i, steps in enumerate(parts):
        kept = state.key.clone()
        grown = read(state, steps, donate=i % 2 == 1)
        assert i % 2 == 1 or torch.equal(state.key, kept)
        state = grown
    return state


@given(segments)
@settings(max_examples=100, deadline=None)
def test_it_is_a_list_of_the_last_states(parts):
    state = after(parts)
    assert listed(state) == truth(parts)
    assert state.stats()["rows"] == len(truth(parts))
    nothing_else = state.key[state.place < 0]
    assert not nothing_else.any()  # what was forgotten is nowhere


@given(segments, segments, segments)
@settings(max_examples=100, deadline=None)
def test_merged_it_is_one_after_the_other(before, first, second):
    begun, mine, theirs = (
        [[(y, written, False) for y, written, _ in steps] for steps in part]
        for part in (before, first, second)
    )
    base = after(begun)
    a, b = (after(part, base) for part in (mine, theirs))
    merged = a.merge(b, base)
    assert listed(merged) == truth([*begun, *mine, *theirs])
    assert int(merged.steps) == int(a.steps + b.steps - base.steps)
    assert a.diff(a) == {"added": 0, "removed": 0, "changed": 0, "norm": 0.0}
    found = a.diff(base)
    assert found["added"] - found["removed"] == len(listed(a)) - len(listed(base))


def test_a_merge_with_what_did_not_grow_from_the_base_is_refused():
    long, short = (after([[(1, True, False)] * n]) for n in (3, 1))
    with pytest.raises(StateError, match="did not grow from it"):
        short.merge(long, long)


def test_streams_are_put_side_by_side_and_emptied_alone():
    one, two = after([[(1, True, False)] * 6]), after([[(2, True, False)]])
    both = CachedStates.concat([one, two])
    assert [listed(both, b) for b in range(2)] == [listed(one), listed(two)]
    left = both.reset(torch.tensor([True, False]))
    assert [listed(left, b) for b in range(2)] == [[], listed(two)]
    assert not left.key[0].any()
    other = CachedStates.empty(CacheLayout(SIZE, WIDTH + 1, CLASSES), 1, torch.zeros(()))
    with pytest.raises(StateError, match="their shapes differ"):
        CachedStates.concat([one, other])


@pytest.fixture
def saved(tmp_path):
    """A memory with a cache that is full, and its file."""
    layer = TableMemory(3, CLASSES, TablesConfig(cache=SIZE, cache_width=WIDTH))
    came = torch.randint(CLASSES, (2, 6))
    hidden, logits = torch.randn(2, 6, 3), torch.randn(2, 6, CLASSES)
    with torch.inference_mode():
        _, state, _ = layer(hidden, came, logits, targets=came)
    state.save(tmp_path / "memory", layer)
    return layer, state, tmp_path / "memory"


def test_it_is_saved_and_loaded_bit_for_bit(saved):
    layer, state, path = saved
    assert equal(FastWeights.load(path, layer), state)
    assert equal(FastWeights.load(path, None), state)
    assert list(FastWeights.load(path, layer).layers) == ["memory", "cache"]


def test_an_empty_one_is_saved_too(saved):
    layer, _, path = saved
    layer.initial_state(2).save(path, layer)
    assert equal(FastWeights.load(path, layer), layer.initial_state(2))


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("cache.token", lambda x: x + CLASSES, "tokens that there are not"),
        ("cache.token", lambda x: x.int(), "other dtypes"),
        ("cache.steps", lambda x: x - 100, "counts that are not"),
        ("cache.key", lambda x: x[:, :1], "parts of shapes"),
    ],
)
def test_what_cannot_be_a_cache_is_refused(saved, part, change, says):
    layer, _, path = saved
    rewrite(path, part, change)
    with pytest.raises(StateError, match=says):
        FastWeights.load(path, layer)


def test_no_file_makes_room_for_more_than_can_be(saved):
    _, _, path = saved
    rewrite(path, layers=lambda all: all | {"cache": ["CachedStates", 2, 10**12, WIDTH]})
    with pytest.raises(StateError, match="and this machine has"):
        FastWeights.load(path, None)


def test_a_state_without_the_cache_is_refused(saved):
    layer, state, _ = saved
    came, rest = torch.zeros(2, 1, dtype=torch.int64), (torch.zeros(2, 1, 3), torch.zeros(2, 1, 7))
    tables = FastWeights({"memory": state.layers["memory"]})
    with pytest.raises(StateError, match=r"expected a cache of \(2, 4, 2\).*got none"):
        layer(rest[0], came, rest[1], tables)
