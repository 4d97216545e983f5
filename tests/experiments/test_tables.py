"""The compiled table memory is the reference, whatever the stream and however it is cut."""

import importlib
import sys

import output_memory as output
import pytest
import torch
from hypothesis import given as for_all, settings, strategies as st
from output_memory import tables
from output_memory.tables import Heads, Tables

from sparsemeta.errors import ConfigError
from tests.experiments import tables_streams as streams
from tests.experiments.tables_streams import HEADS, VOCABULARY, addresses, contexts, read, reference

LONE = Heads.of((1.0, 0.75), (-1, -1), (-1, -1))
PLENTY = 100_000


def empty():
    return Tables.empty(torch.float64)


def same_distributions(learned, truth, slots, weights, heads):
    """Compare every head's whole distribution in one context; each sums to one or is empty."""
    step = addresses(slots, weights)
    for h, (tokens, p) in enumerate(learned.outcomes(slots, weights, heads)):
        dense = torch.zeros(VOCABULARY, dtype=torch.float64).index_add_(0, tokens, p)
        expected = torch.zeros_like(dense)
        for token, share in truth.distribution(h, step[h]).items():
            expected[token] = share
        torch.testing.assert_close(dense, expected, rtol=1e-9, atol=1e-12)
        assert len(p) == 0 or dense.sum().item() == pytest.approx(1, abs=1e-9)


@for_all(streams.tokens)
@settings(max_examples=40, deadline=None)
def test_token_contexts_are_the_reference(came):
    slots, weights = contexts(came)
    truth = reference(HEADS)
    found, after = empty().score_and_write(slots, weights, came, HEADS, PLENTY)
    p, mass, distinct = read(truth, slots, weights, came)
    torch.testing.assert_close(found.p, p, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.mass, mass, rtol=1e-9, atol=1e-12)
    assert torch.equal(found.distinct.long(), distinct.long())
    same_distributions(after, truth, slots[-1], weights[-1], HEADS)


@for_all(streams.tokens, st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_given_addresses_are_the_reference(came, seed):
    slots, weights = streams.given(len(came), seed=seed)
    truth = reference(LONE)
    found, after = empty().score_and_write(slots, weights, came, LONE, PLENTY)
    p, mass, distinct = read(truth, slots, weights, came)
    torch.testing.assert_close(found.p, p, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.mass, mass, rtol=1e-9, atol=1e-12)
    assert torch.equal(found.distinct.long(), distinct.long())
    for step in range(len(came)):
        same_distributions(after, truth, slots[step], weights[step], LONE)


def test_the_score_of_a_token_is_its_entry_of_the_distribution():
    came = torch.randint(VOCABULARY, (80,), generator=torch.Generator().manual_seed(1))
    slots, weights = contexts(came)
    learned = empty()
    for t in range(len(came)):
        listed = learned.outcomes(slots[t], weights[t], HEADS)
        now = slice(t, t + 1)
        found, learned = learned.score_and_write(slots[now], weights[now], came[now], HEADS, PLENTY)
        entries = [p[tokens == came[t]].sum() for tokens, p in listed]
        torch.testing.assert_close(found.p[0], torch.stack(entries), rtol=1e-9, atol=1e-12)
        assert [len(p) > 0 for _, p in listed] == (found.mass[0] > 0).tolist()


@for_all(streams.tokens, st.integers(0, 60), st.booleans())
@settings(max_examples=40, deadline=None)
def test_any_split_of_the_stream_is_the_whole(came, cut, donate):
    cut = min(cut, len(came))
    whole, once = empty().score_and_write(*contexts(came), came, HEADS, 128 * 5)
    learned, parts = empty(), []
    for part, history in ((came[:cut], came[:0]), (came[cut:], came[:cut])):
        found, learned = learned.score_and_write(
            *contexts(part, history), part, HEADS, 128 * 5, donate=donate
        )
        parts.append(found)
    for name in whole._fields:
        joined = torch.cat([getattr(part, name) for part in parts])
        assert torch.equal(joined, getattr(whole, name)), name
    for name, tensor in once.tensors().items():
        assert torch.equal(tensor, learned.tensors()[name]), name


def test_tables_are_values_and_tensors_restore_them():
    came = torch.randint(VOCABULARY, (600,), generator=torch.Generator().manual_seed(2))
    slots, weights = contexts(came)
    first, rest = slice(0, 300), slice(300, 600)
    _, before = empty().score_and_write(slots[first], weights[first], came[first], HEADS, PLENTY)
    kept = before.clone()
    restored = Tables.of_tensors(**before.tensors())
    one, after = before.score_and_write(slots[rest], weights[rest], came[rest], HEADS, PLENTY)
    for name, tensor in kept.tensors().items():
        assert torch.equal(tensor, before.tensors()[name]), name
    other, again = restored.score_and_write(slots[rest], weights[rest], came[rest], HEADS, PLENTY)
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)
    for name, tensor in after.tensors().items():
        assert torch.equal(tensor, again.tensors()[name]), name
    one, _ = kept.score_and_write(slots[:1], weights[:1], came[:1], HEADS, PLENTY, donate=True)
    other, _ = before.score_and_write(slots[:1], weights[:1], came[:1], HEADS, PLENTY)
    assert torch.equal(one.p, other.p)


@pytest.mark.parametrize("seed", range(3))
def test_eviction_is_the_reference_and_keeps_the_budget(seed):
    g = torch.Generator().manual_seed(seed)
    came = torch.randint(VOCABULARY, (400,), generator=g)
    slots, weights = contexts(came)
    truth, capacity = reference(HEADS, capacity=90), 90
    found, after = empty().score_and_write(slots, weights, came, HEADS, capacity)
    p, mass, _ = read(truth, slots, weights, came)
    torch.testing.assert_close(found.p, p, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(found.mass, mass, rtol=1e-9, atol=1e-12)
    assert after.used[0] <= capacity
    assert len(after.key) <= max(capacity + 1, 256)
    same_distributions(after, truth, slots[-1], weights[-1], HEADS)


def test_eviction_loses_little_of_a_text_that_repeats_itself():
    """A phrase comes again and again among what never does: it is what is kept."""
    g = torch.Generator().manual_seed(0)
    phrase = torch.randint(1000, (20,), generator=g)
    parts = [(torch.randint(1000, (60,), generator=g), phrase) for _ in range(50)]
    came = torch.cat([part for pair in parts for part in pair])
    scores = {}
    for capacity in (3000, PLENTY):
        found, _ = empty().score_and_write(*contexts(came), came, HEADS, capacity)
        in_phrase = (torch.arange(len(came)) % 80 >= 63) & (torch.arange(len(came)) > 800)
        scores[capacity] = found.p[in_phrase, 4].mean().item()
    assert scores[PLENTY] > 0.95
    assert scores[3000] > 0.98 * scores[PLENTY]


def test_a_capacity_below_a_few_tokens_and_wrong_links_are_refused():
    came = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(ConfigError, match="capacity of 80 rows at least"):
        empty().score_and_write(*contexts(came), came, HEADS, 79)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        Heads.of((1.5,), (-1,), (-1,))
    with pytest.raises(ConfigError, match="later head"):
        Heads.of((1.0, 1.0), (-1, 0), (-1, -1))
    with pytest.raises(ConfigError, match="shorter"):
        Heads.of((1.0,), (-1,), (1,))


def test_without_numba_the_same_loops_run_as_plain_python(monkeypatch):
    came = torch.randint(VOCABULARY, (150,), generator=torch.Generator().manual_seed(3))
    slots, weights = contexts(came)
    expected, _ = empty().score_and_write(slots, weights, came, HEADS, 90)
    monkeypatch.setattr(output, "tables_native", tables.native)  # put back what importing replaces
    monkeypatch.setattr(output, "compiling", sys.modules[f"{output.__name__}.compiling"])
    for name in ("compiling", "tables_native"):
        monkeypatch.delitem(sys.modules, f"{output.__name__}.{name}")
    monkeypatch.setitem(sys.modules, "numba", None)
    plain = importlib.import_module(f"{output.__name__}.tables_native")
    assert not hasattr(plain.score_and_write, "py_func")
    monkeypatch.setattr(tables, "native", plain)
    found, after = empty().score_and_write(slots, weights, came, HEADS, 90)
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
    assert sum(p.sum() for _, p in after.outcomes(slots[-1], weights[-1], HEADS)) > 0
