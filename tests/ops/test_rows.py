"""The row memory: its exact form against the loop, and what must hold of both."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn.functional import pad

from sparsemeta.ops import Outcomes, Scores
from sparsemeta.ops.output.rows import run_all_rows
from sparsemeta.ops.output.rows_chunked import rows_chunked
from sparsemeta.ops.output.types import EPOCH, Rows
from tests.ops.outcomes import added, case, chunked, reference, rows_of, run, run_chunked


def assert_same(found, expected):
    for name, tensor in expected.items():
        torch.testing.assert_close(
            found[name], tensor, rtol=1e-9, atol=1e-11, msg=lambda text, n=name: f"{n}: {text}"
        )


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 12),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from([0.0, 0.1]),
    st.integers(0, 2**16),
)
def test_a_whole_segment_is_the_loop(batch, time, heads, width, classes, masked, resets, seed):
    given = case(batch, time, heads, width, classes, masked=masked, resets=resets, seed=seed)
    assert_same(run(chunked, given), run(reference, given))


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 30), st.sets(st.integers(1, 29)), st.integers(0, 2**16))
def test_any_split_of_a_stream_is_the_same(time, cuts, seed):
    given = case(time=time, seed=seed)
    cuts = tuple(sorted(cut for cut in cuts if cut < time))
    assert_same(run(chunked, given, cuts=cuts), run(reference, given))


@pytest.mark.parametrize("time", [1, 63, 1000])
def test_one_class_that_always_comes(time):
    given = case(time=time, classes=1, resets=0.0)
    assert_same(run(chunked, given), run(reference, given))


def test_the_loop_is_what_the_equations_say():
    """Over one stream and head, sharing no code with the package."""
    given = case(1, 9, 1, 2, 3, masked=0.0, resets=0.0)
    row, key, rate, query, log_retention = (x.squeeze() for x in given.outcomes)
    memory = given.memory[0, :, 0].clone()
    for t in range(9):
        memory *= log_retention.exp()
        memory[row[t]] += rate[t] * (key[t] - memory[row[t]])
        torch.testing.assert_close(reference(given)[0][0, t], memory @ query[t])
    torch.testing.assert_close(reference(given)[1][0, :, 0], memory)


def test_gradients_are_right():
    given = case(1, 6, 2, 2, 3, seed=3)
    *steps, log_retention = given.outcomes

    def both(key, rate, query, log_retention, memory):
        outcomes = Outcomes(steps[0], key, rate, query, log_retention)
        return chunked(replace(given, outcomes=outcomes, memory=memory))

    leaves = [x.clone().requires_grad_() for x in (*steps[1:], log_retention, given.memory)]
    assert torch.autograd.gradcheck(both, leaves)


def test_rows_that_were_idle_for_long_or_at_full_rate_stay_finite():
    given = case(time=50)
    given = replace(
        given,
        outcomes=given.outcomes._replace(
            rate=torch.ones_like(given.outcomes.rate),
            log_retention=torch.tensor([-60.0, 0.0]).double(),
        ),
    )
    found = run(chunked, given)
    assert all(tensor.isfinite().all() for tensor in found.values())
    assert_same(found, run(reference, given))


def test_what_comes_later_changes_nothing_before():
    given = case(time=20)
    whole, _ = chunked(given)
    for stop in (1, 7, 19):
        torch.testing.assert_close(chunked(given.part(0, stop))[0], whole[:, :stop])


def test_an_empty_memory_adds_exactly_nothing():
    given = case(resets=0.0)
    rows = Rows(torch.zeros(2, 5, 7, dtype=torch.float64), torch.zeros(2).long())
    nothing = torch.zeros_like(given.mask)
    scores, after = run_chunked(replace(given, mask=nothing), rows)
    assert torch.equal(added(scores, 5), torch.zeros(2, 12, 5).double())
    assert all(torch.equal(a, b) for a, b in zip(after, rows, strict=True))
    silent = given.outcomes._replace(query=torch.zeros_like(given.outcomes.query))
    scores, _ = run_chunked(replace(given, outcomes=silent), rows_of(given.memory))
    assert not added(scores, 5).any()


def test_a_masked_step_may_hold_anything_and_leaves_no_trace():
    given = case(masked=0.5)
    outcomes = given.outcomes
    spoilt = [
        torch.where(given.mask.view(2, -1, *[1] * (x.dim() - 2)), x, torch.nan)
        for x in (outcomes.key, outcomes.rate, outcomes.query)
    ]
    elsewhere = torch.where(given.mask, outcomes.observed, 0)
    spoilt = replace(given, outcomes=Outcomes._make([elsewhere, *spoilt, outcomes.log_retention]))
    (found, after), (expected, expected_after) = chunked(spoilt), chunked(given)
    torch.testing.assert_close(found[given.mask], expected[given.mask])
    torch.testing.assert_close(after, expected_after)


def test_a_reset_begins_anew():
    given = case(time=10, resets=0.0)
    reset = torch.zeros_like(given.reset)
    reset[0, 4] = True
    found, after = chunked(replace(given, reset=reset))
    fresh = replace(given.part(4, 10), memory=torch.zeros_like(given.memory))
    expected, expected_after = chunked(fresh)
    torch.testing.assert_close(found[0, 4:], expected[0])
    torch.testing.assert_close(after[0], expected_after[0])
    unaffected, unaffected_after = chunked(given)
    torch.testing.assert_close(found[1], unaffected[1])
    torch.testing.assert_close(after[1], unaffected_after[1])


def test_the_clock_counts_real_steps_since_the_last_reset_and_rows_their_last_write():
    row = torch.tensor([[1, 2, 1, 3, 2, 1]])
    mask = torch.tensor([[True, True, False, True, True, False]])
    reset = torch.tensor([[False, False, False, True, False, False]])
    outcomes = case(1, 6, classes=4).outcomes._replace(observed=row)
    before = rows_of(torch.ones(1, 4, 2, 3, dtype=torch.float64))
    classes = torch.arange(4)[None]
    *_, after = rows_chunked(outcomes, before, classes, mask, torch.zeros_like(reset))
    assert after.clock.tolist() == [11]
    assert after.stamp.tolist() == [[7, 8, 11, 10]]
    *_, after = rows_chunked(outcomes, before, classes, mask, reset)
    assert after.clock.tolist() == [2]
    assert after.stamp.tolist() == [[0, 0, 2, 1]]
    assert not after.table[0, :2].any()


@pytest.mark.parametrize("looks", [True, False])
@pytest.mark.parametrize(("masked", "resets"), [(0.2, 0.1), (0.9, 0.0), (1.0, 0.0), (0.0, 0.6)])
def test_rows_of_all_classes_are_the_loop_whether_one_may_look_at_them(
    looks, masked, resets, monkeypatch
):
    monkeypatch.setattr("sparsemeta.ops.output.rows_chunked.at_hand", lambda x: looks)

    def all_rows(given):
        rows = rows_of(given.memory)
        scores, rows = run_all_rows(given.outcomes, rows, given.mask, given.reset)
        return added(scores, 5), rows.now(given.outcomes.log_retention)

    given = case(masked=masked, resets=resets)
    found, expected = run(all_rows, given), run(reference, given)
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)


def test_streams_do_not_touch():
    given = case(batch=3)
    order = torch.tensor([2, 0, 1])
    *steps, log_retention = given.outcomes
    outcomes = Outcomes._make([*(x[order] for x in steps), log_retention])
    moved = replace(
        given,
        outcomes=outcomes,
        memory=given.memory[order],
        mask=given.mask[order],
        reset=given.reset[order],
    )
    for found, expected in zip(chunked(moved), chunked(given), strict=True):
        torch.testing.assert_close(found, expected[order])


@pytest.mark.parametrize("time", [2, 12])
def test_rows_given_away_are_overwritten_and_others_are_not(time):
    given = case(time=time, resets=0.0)
    kept, spent = rows_of(given.memory.clone()), rows_of(given.memory.clone())
    expected = run_chunked(given, kept)
    assert torch.equal(kept.table, rows_of(given.memory).table)
    with torch.no_grad():
        found = run_chunked(given, spent, donate=True)
    assert found[1].table.data_ptr() == spent.table.data_ptr()
    assert torch.equal(added(found[0], 5), added(expected[0], 5))
    assert all(torch.equal(*pair) for pair in zip(found[1], expected[1], strict=True))


def test_the_score_of_one_class_is_that_entry_of_all():
    given = case(time=20, classes=9)
    scores, _ = run_chunked(given, rows_of(given.memory))
    target = torch.randint(0, 9, (2, 20))
    whole = added(scores, 9).gather(2, target[..., None])[..., 0]
    torch.testing.assert_close(scores.of(target), whole)
    torch.testing.assert_close(scores.at(slice(3, 5)).of(target[:, 3:5]), whole[:, 3:5])


def test_rows_that_are_free_are_not_read():
    given = case(resets=0.0)
    short = rows_of(given.memory)
    rows = short._replace(table=pad(short.table, (0, 0, 0, 20), value=torch.nan))
    expected, after = run_chunked(given, short)
    found, found_after = run_chunked(given, rows)
    assert torch.equal(added(found, 5), added(expected, 5))
    assert torch.equal(found_after.table[:, :5], after.table)


def test_what_is_forgotten_is_not_read():
    given = case(1, 6, heads=3, classes=40, masked=0.0, resets=0.0)
    log_retention = torch.tensor([-1.0, -30.0, -0.1]).double()
    given = replace(given, outcomes=given.outcomes._replace(log_retention=log_retention))
    rows = rows_of(given.memory)
    old = torch.arange(40).double()[None, :, None] / EPOCH  # written so many steps ago
    rows = Rows(torch.cat([rows.table[..., :-1], old], dim=-1), torch.tensor([40]))
    expected, _ = reference(replace(given, memory=rows.now(log_retention)))
    found, _ = run_chunked(given, rows)
    torch.testing.assert_close(added(found, 40), expected)
    assert sorted(score.shape[2] for score in found.score[:-1]) == [1, 4, 35]


def test_free_rows_and_classes_without_a_row_get_nothing():
    free, vocabulary = 150_000, 150_000
    score = torch.tensor([[[0.0, 2.0, 0.0]]]), torch.ones(1, 1, 1)
    scores = Scores(score, (torch.tensor([[free, 70, free]]), torch.tensor([[7]])))
    logits = scores.add_to(torch.zeros(1, 1, vocabulary))
    assert logits.nonzero()[:, 2].tolist() == [7, 70]


def test_float32_is_close_to_float64():
    given = case(time=200, classes=7, masked=0.0)
    outcomes = Outcomes(*(x.float() if x.is_floating_point() else x for x in given.outcomes))
    found, _ = chunked(replace(given, outcomes=outcomes, memory=given.memory.float()))
    torch.testing.assert_close(found, reference(given)[0].float(), rtol=1e-4, atol=1e-4)
