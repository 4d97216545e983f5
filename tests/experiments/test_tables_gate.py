"""The fast gate: its compiled form is the reference, its mixture a distribution, its worst case."""

import math

import pytest
import torch
from hypothesis import given as for_all, settings, strategies as st
from output_memory.contexts import token_contexts
from output_memory.gate import Gate, Rates
from output_memory.gate_reference import gate_reference
from output_memory.tables import Found, Heads, Tables

from tests.experiments import tables_streams as streams
from tests.experiments.tables_streams import HEADS, VOCABULARY, contexts

PLENTY = 100_000


def segment(time, heads=4, seed=0):
    """A model's log-probabilities, what heads said, and a trained part of the gate."""
    g = torch.Generator().manual_seed(seed)
    p, mass, slow = torch.rand(3, time, heads, generator=g, dtype=torch.float64)
    mass = (mass * 40).floor() * (mass > 0.3)
    distinct = (mass / 2).ceil().int()
    log_p = torch.rand(time, generator=g, dtype=torch.float64).clamp(min=1e-3).log()
    return log_p, Found(p * (mass > 0), mass, distinct), 4 * slow - 2


@pytest.mark.parametrize("rates", [Rates(), Rates(50.0, 5.0)])
@pytest.mark.parametrize("seed", range(3))
def test_the_compiled_gate_is_the_reference(seed, rates):
    log_p, found, slow = segment(100, seed=seed)
    gate = Gate.start(torch.linspace(-1, 1, 4))
    mixed, after = gate.mix(log_p, found, slow, rates)
    *expected, theta, count = gate_reference(log_p, *found, slow, gate.theta, gate.count, *rates)
    for a, b in zip((*mixed, after.theta), (*expected, theta), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)
    assert torch.equal(after.count, count)
    assert gate.count.sum() == 0


def test_the_gradient_is_that_of_the_mixture():
    log_p, found, slow = segment(30, seed=1)
    gate = Gate.start(torch.zeros(4))
    log_p.requires_grad_()
    slow.requires_grad_()
    mixed, _ = gate.mix(log_p, found, slow)
    for t in range(30):  # each step by itself: what was learned before is held fixed
        before = gate.mix(log_p[:t], Found(*(x[:t] for x in found)), slow[:t])[1] if t else gate
        step = slice(t, t + 1)
        p, mass, distinct = (x[step] for x in found)
        rest = slow[step], before.theta, before.count, 0.0, 0.0
        log_q, *_ = gate_reference(log_p[step], p, mass, distinct, *rest)
        by_log_p, by_slow = torch.autograd.grad(log_q.sum(), (log_p, slow))
        torch.testing.assert_close(mixed.gradient[t, 0], by_log_p[t], rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(mixed.gradient[t, 1:], by_slow[t], rtol=1e-8, atol=1e-10)


@for_all(streams.tokens, st.integers(0, 20))
@settings(max_examples=25, deadline=None)
def test_the_mixture_sums_to_one_at_every_step_and_its_entries_are_the_scores(came, seed):
    g = torch.Generator().manual_seed(seed)
    model = torch.randn(len(came), VOCABULARY, generator=g, dtype=torch.float64).log_softmax(-1)
    slots, weights = contexts(came)
    tables, gate = Tables.empty(torch.float64), Gate.start(torch.zeros(5))
    for t in range(len(came)):
        now = slice(t, t + 1)
        listed = tables.outcomes(slots[t], weights[t], HEADS)
        found, tables = tables.score_and_write(slots[now], weights[now], came[now], HEADS, PLENTY)
        share = gate.weights(found.mass[0], found.distinct[0])
        whole = share[0] * model[t].exp()
        for part, (tokens, p) in zip(share[1:], listed, strict=True):
            whole.index_add_(0, tokens, part * p)
        mixed, gate = gate.mix(model[now].gather(1, came[now, None])[:, 0], found)
        assert whole.sum().item() == pytest.approx(1, abs=1e-9)
        assert mixed.weights.sum().item() == pytest.approx(1, abs=1e-12)
        assert mixed.log_q.exp().item() == pytest.approx(whole[came[t]].item(), rel=1e-9)


def test_empty_tables_are_the_model_exactly():
    came = torch.arange(200)  # nothing comes twice, and the one slot for all is left out
    slots = token_contexts(came, came[:0], (1, 2, 3))[..., None]
    heads = Heads.of((1.0, 1.0, 1.0), (1, 2, -1), (-1, 0, 1))
    found, _ = Tables.empty().score_and_write(
        slots.clamp(min=0), (slots >= 0).float(), came, heads, PLENTY
    )
    log_p = torch.linspace(-9, -0.1, 200, dtype=torch.float64)
    mixed, gate = Gate.start(torch.zeros(3)).mix(log_p, found)
    torch.testing.assert_close(mixed.log_q, log_p, rtol=0, atol=1e-14)
    assert gate.theta.count_nonzero() == 0


def test_any_split_of_a_segment_is_the_whole():
    log_p, found, slow = segment(64, seed=2)
    start = Gate.start(torch.zeros(4))
    whole, once = start.mix(log_p, found, slow)
    gate, parts = start, []
    for step in (slice(0, 1), slice(1, 40), slice(40, 64)):
        part = Found(*(x[step] for x in found))
        mixed, gate = gate.mix(log_p[step], part, slow[step])
        parts.append(mixed.log_q)
    assert torch.equal(torch.cat(parts), whole.log_q)
    assert torch.equal(gate.theta, once.theta)


@pytest.mark.parametrize("vocabulary", [50, 4096])
def test_random_tokens_cost_less_than_a_hundredth_of_a_bit(vocabulary):
    g = torch.Generator().manual_seed(0)
    came = torch.randint(vocabulary, (40_000,), generator=g)
    orders = (0, 0, 0, 1, 1, 2, 3, 4, 6, 8)
    keep = (1.0, 0.99, 0.95, 1.0, 0.95, 1.0, 1.0, 1.0, 1.0, 1.0)
    longer = (3, -1, -1, 5, -1, 6, 7, 8, 9, -1)
    shorter = (-1, -1, -1, -1, -1, -1, -1, 6, 7, 8)
    slots = token_contexts(came, came[:0], orders)[..., None]
    found, _ = Tables.empty().score_and_write(
        slots.clamp(min=0), (slots >= 0).float(), came, Heads.of(keep, longer, shorter), 10**7
    )
    log_p = torch.full((len(came),), -math.log(vocabulary), dtype=torch.float64)
    mixed, _ = Gate.start(torch.full((10,), -2.0)).mix(log_p, found)
    assert (log_p - mixed.log_q).mean().item() / math.log(2) < 0.01


def test_a_wrong_model_is_left_for_what_repeats():
    came = torch.arange(5000) % 7
    slots, weights = contexts(came)
    found, _ = Tables.empty().score_and_write(slots, weights.float(), came, HEADS, PLENTY)
    log_p = torch.full((5000,), -12.0, dtype=torch.float64)
    mixed, _ = Gate.start(torch.full((5,), -2.0)).mix(log_p, found)
    assert mixed.log_q[-1000:].mean() > -0.01
