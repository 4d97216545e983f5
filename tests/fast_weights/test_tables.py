"""Tables as values: what they hold, listed, cut, joined, emptied, compared and merged."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given as for_all, settings, strategies as st

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, TableWeights
from sparsemeta.fast_weights.entries import DISTINCT, TOKEN
from sparsemeta.nn import SparseMemory
from tests.fast_weights import tables
from tests.fast_weights.states import CONFIG, equal
from tests.fast_weights.tables import KEEP, LAYOUT, as_dict, empty, learn, same, state_of, truth

quick = settings(max_examples=25, deadline=None)


@for_all(tables.texts)
@quick
def test_entries_are_what_the_rule_says(texts):
    found, expected = as_dict(learn(texts).entries()), truth(texts)
    assert list(found) == sorted(expected)
    for place, (weight, age) in found.items():
        assert weight == pytest.approx(expected[place][0], rel=1e-6)
        assert age == expected[place][1]


@for_all(tables.texts, tables.texts)
@quick
def test_tables_made_of_entries_hold_them_and_go_on_as_those_they_came_from(texts, more):
    learned = learn(texts)
    made = TableWeights.of_entries(learned.entries(), learned)
    assert same(made, learned)
    one, other = learn(more, learned).entries(), learn(more, made).entries()
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


@for_all(tables.texts)
@quick
def test_a_slot_weighs_what_its_entries_do(texts):
    learned = learn(texts)
    for held in (learned, TableWeights.of_entries(learned.entries(), learned)):
        listed = held.entries()
        for b, row in (held.rows[..., TOKEN] < 0).nonzero().tolist():
            head, slot = -1 - held.rows[b, row, TOKEN], held.key[b, row]
            own = (listed.stream == b) & (listed.head == head) & (listed.slot == slot)
            assert held.rows[b, row, DISTINCT] == own.sum()
            torch.testing.assert_close(held.weight[b, row], listed.weight[own].sum())


def test_what_decay_has_left_nothing_of_is_not_listed():
    learned = learn([[1, 2] + [1, 1] * 10])
    learned.weight[:] *= 1e-30
    learned.keep[:] = 1e-3
    tokens = learned.entries().where(learned.entries().head == 1).token
    assert tokens.tolist() == [1, 1]  # after 1 and after 2, but no longer 2 after 1


@for_all(tables.texts, st.integers(1, 300))
@quick
def test_select_and_concat_are_inverse(texts, room):
    learned = learn(texts)
    learned = replace(learned, bucket=torch.arange(8, dtype=torch.int32).expand(2, -1))
    state = state_of(learned)
    first, second = state.select([0]), state.select(torch.tensor([False, True]))
    assert [part.batch for part in (first, second)] == [1, 1]
    assert second.layers["memory"].bucket.shape == (1, 8)
    longer = {
        name: torch.nn.functional.pad(x, [0, 0] * (x.dim() - 2) + [0, room])
        for name, x in first.layers["memory"].tensors().items()
        if name in ("key", "weight", "rows")
    }
    for one in (first, state_of(replace(first.layers["memory"], **longer))):
        joined = FastWeights.concat([one, second])
        assert equal(joined, state)
        assert joined.layers["memory"].bucket is None
    again = FastWeights.from_tensors(state.tensors())
    assert equal(again, state)
    assert torch.equal(again.layers["memory"].bucket, learned.bucket)


@for_all(tables.texts)
@quick
def test_reset_forgets_the_chosen_streams(texts):
    learned = replace(learn(texts), bucket=torch.ones(2, 8, dtype=torch.int32))
    after = state_of(learned).reset(torch.tensor([True, False]))
    assert equal(after.select([1]), state_of(learned).select([1]))
    assert equal(after.select([0]), state_of(empty(1)))
    bucket = after.layers["memory"].bucket
    assert not bucket[0].any()
    assert bucket[1].all()
    assert equal(state_of(learned).reset(), state_of(empty()))


def test_how_much_it_holds():
    assert empty().stats() == {
        "slots": 0,
        "entries": 0,
        "rows": 0,
        "steps": 0,
        "bytes": sum(tensor.nbytes for tensor in empty().tensors().values()),
    }
    stats = learn([[1, 2, 1], [1]]).stats()
    assert stats["slots"] == 1 + 2 + 1 + 1  # of no token, of one, of two; and of none
    assert stats["entries"] == 2 + 2 + 1 + 1
    assert stats["rows"] == stats["slots"] + stats["entries"]
    assert stats["steps"] == 2


def test_tables_stay_in_host_memory_wherever_rows_go():
    hidden = SparseMemory(8, CONFIG)(torch.randn(1, 3, 8))[1]
    state = FastWeights.join({"hidden": hidden, "output": state_of(learn([[1, 2, 3]]))})
    moved = state.to("meta")
    assert {x.device.type for x in moved.layers["hidden.memory"].tensors().values()} == {"meta"}
    assert moved.layers["output.memory"] is state.layers["output.memory"]
    chosen = moved.select(torch.tensor([0]))
    assert same(chosen.layers["output.memory"], state.layers["output.memory"])
    assert equal(moved.reset(layers=["output.memory"]).child("output"), state_of(empty(1)))
    with pytest.raises(StateError, match="one model"):
        FastWeights.concat([hidden, state.child("output")])
    with pytest.raises(StateError, match="not two states of one model"):
        hidden.diff(state.child("output"))


@for_all(tables.texts, tables.texts)
@quick
def test_what_changed_since(texts, more):
    before, after = learn(texts), learn(more, learn(texts))
    old, new = as_dict(before.entries()), as_dict(after.entries())
    weight = {p: (new.get(p, (0,))[0], old.get(p, (0,))[0]) for p in old.keys() | new.keys()}
    expected = {
        "added": sum(p not in old for p in new),
        "removed": sum(p not in new for p in old),
        "changed": sum(p in new and p in old and len({*w}) == 2 for p, w in weight.items()),
        "norm": pytest.approx(sum((a - b) ** 2 for a, b in weight.values()) ** 0.5, rel=1e-5),
    }
    assert state_of(after).diff(state_of(before)) == {"memory": expected}
    back = before.diff(after)
    assert (back["added"], back["removed"]) == (expected["removed"], expected["added"])
    assert not any(after.diff(after).values())
    assert before.diff(empty())["added"] == len(old)


@for_all(tables.texts, tables.texts)
@quick
def test_merging_with_a_fork_that_learned_nothing_changes_nothing(texts, more):
    base = learn(texts)
    mine = learn(more, base)
    assert same(mine.merge(base, base), mine)
    assert same(base.merge(mine, base), mine)
    assert same(mine.merge(empty(), None), mine)
    assert same(empty().merge(mine, None), mine)


@for_all(tables.texts, tables.texts, tables.texts)
@quick
def test_what_two_learned_apart_adds_up(texts, one, other):
    base = learn(texts)
    a, b = learn(one, base), learn(other, base)
    merged = state_of(a).merge(state_of(b), state_of(base)).layers["memory"]
    start, left, right = (as_dict(x.entries()) for x in (base, a, b))
    expected = {}
    for place in left.keys() | right.keys():
        weights = [x.get(place, (0.0,))[0] for x in (left, right, start)]
        expected[place] = weights[0] + weights[1] - weights[2]
    found = as_dict(merged.entries())
    for place in expected.keys() | found.keys():
        weight = max(0.0, expected[place])
        assert found.get(place, (0.0,))[0] == pytest.approx(weight, rel=1e-5, abs=1e-6)
    for place, (_, age) in found.items():
        later = len(other[place[0]])
        written = place in right and right[place][1] < later
        assert age == (right[place][1] if written else left[place][1] + later)
    assert torch.equal(merged.steps, a.steps + b.steps - base.steps)
    assert torch.equal(merged.moved, a.moved + b.moved - base.moved)
    read = torch.tensor([len(stream) > 0 for stream in other])
    assert torch.equal(merged.recent, torch.where(read[:, None], b.recent, a.recent))
    again = b.merge(a, base)
    assert all(map(torch.equal, merged.entries()[:5], again.entries()[:5]))  # ages differ
    torch.testing.assert_close(merged.theta, again.theta)


def test_the_gate_is_a_mean_by_how_often_it_was_moved():
    base = empty(1)
    a, b = learn([[1, 1, 1]], base), learn([[1]], base)
    a.theta[0, 0, 1], b.theta[0, 0, 1] = 1.0, -1.0
    merged = a.merge(b, base)
    assert merged.theta[0, 0, 1] == pytest.approx((3 * 1.0 - 1.0) / 4)
    assert merged.moved[0, 0, 1] == 4
    assert merged.theta[0, 1, 1] == a.theta[0, 1, 1]  # b was never in a context of one token


def test_what_cannot_be_merged():
    base = learn([[1, 2, 3]])
    with pytest.raises(StateError, match="read less than the base"):
        base.merge(base, learn([[4]], base))
    with pytest.raises(StateError, match="forget differently"):
        base.merge(replace(base, keep=base.keep / 2), None)
    other = TableWeights.empty(LAYOUT._replace(recent=2), 1, KEEP)
    for refused in (
        lambda: state_of(base).merge(state_of(other)),
        lambda: state_of(base).diff(state_of(other)),
    ):
        with pytest.raises(StateError, match="not two states of one model"):
            refused()
    with pytest.raises(StateError, match="one model"):
        FastWeights.concat([state_of(base), state_of(other)])
