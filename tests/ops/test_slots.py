"""Rows of slots that were written: beside a dictionary for every head, step by step."""

from itertools import product

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import StateError
from sparsemeta.ops import Address, Held, Segment, locate

SLOTS = 60


@pytest.fixture(params=["hash", "sort"])
def search(request, monkeypatch):
    if request.param == "sort":
        monkeypatch.setattr("sparsemeta.ops.table.slots.usable", lambda x: False)


def empty(batch=2, heads=2, rows=4):
    return Held(
        torch.zeros(batch, heads, rows, 3), torch.full((batch, heads, rows), SLOTS), bucket=None
    )


def segment(g, time, batch=2, heads=2, resets=0.2):
    return (
        torch.randint(0, SLOTS, (batch, time, heads, 3), generator=g),
        torch.randint(0, SLOTS, (batch, time, heads, 2), generator=g),
        torch.rand(batch, time, generator=g) < 0.7,
        torch.rand(batch, time, generator=g) < resets,
    )


def find(held, writes, reads, written, reset, **options):
    """The rows of slots written and read, and the table after."""
    none = torch.empty(0)
    segment = Segment(Address(writes, none), none, none, None, Address(reads, none))
    found, after = locate(held, segment, written, reset, **options)
    return found.write.index, found.read.index, after


def copy(held):
    return Held(*(None if tensor is None else tensor.clone() for tensor in held))


def rows_of(held, b, h):
    """A head's rows by slot."""
    return {s: row for row, s in enumerate(held.slot[b, h].tolist()) if s != SLOTS}


def check_head(before, after, written, reset, index, row):
    """That one head's addresses lead where a dictionary leads; index and row: (writes, reads)."""
    rows = dict(before)
    time = len(reset)
    for start in range(time):
        if start > 0 and not reset[start]:
            continue
        if reset[start]:
            rows = {}
        stop = next((t for t in range(start + 1, time) if reset[t]), time)
        for t in range(start, stop):
            for slot, at in zip(index[0][t], row[0][t], strict=True):
                assert at == (rows.setdefault(slot, at) if written[t] else 0)
                assert not written[t] or at > 0
        assert len(set(rows.values())) == len(rows)  # no two slots share a row
        for t in range(start, stop):
            assert row[1][t] == [rows.get(slot, 0) for slot in index[1][t]]
    assert after == rows


@given(
    times=st.lists(st.integers(1, 12), min_size=1, max_size=5),
    resets=st.sampled_from([0.0, 0.2]),
    donate=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("numba", [True, False])
def test_it_is_a_dictionary_for_every_head(times, resets, donate, seed, numba):
    g, held = torch.Generator().manual_seed(seed), empty()
    with pytest.MonkeyPatch.context() as patch:
        if not numba:
            patch.setattr("sparsemeta.ops.table.slots.usable", lambda x: False)
        for time in times:
            case, before = segment(g, time, resets=resets), copy(held)
            write, read, after = find(held, *case, capacity=SLOTS, donate=donate)
            assert donate or all(
                a is b or torch.equal(a, b) for a, b in zip(held, before, strict=True)
            )
            for b, h in product(range(2), range(2)):
                check_head(
                    rows_of(before, b, h),
                    rows_of(after, b, h),
                    case[2][b].tolist(),
                    case[3][b].tolist(),
                    [index[b, :, h].tolist() for index in case[:2]],
                    [row[b, :, h].tolist() for row in (write, read)],
                )
            assert (after.slot[..., 0] == SLOTS).all()
            assert after.table.shape[:3] == after.slot.shape
            held = after


@pytest.mark.usefixtures("search")
def test_growth_keeps_what_is_held():
    held = empty()
    held = held._replace(table=torch.zeros_like(held.table).requires_grad_())
    every = torch.arange(SLOTS).expand(2, 1, 2, SLOTS)
    always = torch.ones(2, 1, dtype=torch.bool)
    write, read, after = find(held, every, every, always, None, capacity=SLOTS)
    assert after.slot.shape[2] == SLOTS + 1  # 4, 8, 16, 32, then all that it may
    assert torch.equal(write, read)
    after.table.sum().backward()
    assert held.table.grad.eq(1).all()
    again, _, same = find(after, every, every, always, None, capacity=SLOTS, donate=True)
    assert torch.equal(again, write)
    assert same.table is after.table


@pytest.mark.usefixtures("search")
@pytest.mark.parametrize("donate", [True, False])
def test_more_rows_than_the_capacity_change_nothing(donate):
    g = torch.Generator().manual_seed(0)
    always, few = torch.ones(2, 9, dtype=torch.bool), torch.arange(5).expand(2, 9, 2, 5)
    _, _, held = find(empty(), few, few, always, None, capacity=10)
    before = copy(held)
    index = segment(g, 9)[0]
    with pytest.raises(StateError, match=r"holds 5 rows already.* past 10 \(memory.capacity\)"):
        find(held, index, index, always, None, capacity=10, donate=donate)
    assert torch.equal(held.slot, before.slot)
    assert rows_of(held, 1, 1) == dict(zip(range(5), range(1, 6), strict=True))
    write, _, _ = find(held, few, few, always, None, capacity=10, donate=donate)
    assert write[0, 0, 0].tolist() == [1, 2, 3, 4, 5]


def test_overwriting_copies_nothing_that_will_fit():
    always, few = torch.ones(1, 2, dtype=torch.bool), torch.arange(3).expand(1, 2, 2, 3)
    _, _, held = find(empty(1, rows=64), few, few, always, None, capacity=64, donate=True)
    _, _, after = find(held, few + 1, few, always, None, capacity=64, donate=True)
    assert all(a is b for a, b in zip(after, held, strict=True))
