"""The table memory is its reference (invariants 9-12 of the design)."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from hypothesis import given as for_all, settings, strategies as st
from torch.func import functional_call

from sparsemeta.config import TablesConfig
from sparsemeta.errors import ConfigError, ScanError, StateError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import TableMemory, watch_gate
from tests.nn.table_streams import (
    CASES,
    CONFIGS,
    LEARNED,
    VOCABULARY,
    case,
    module,
    picked,
    real,
    reference,
    run,
    same,
)


@CONFIGS
@pytest.mark.parametrize("options", CASES)
@pytest.mark.parametrize("seed", range(3))
def test_scores_and_weights_are_the_reference(config, options, seed):
    memory, given = module(config, seed), case(seed=seed, **options)
    expected, weights, _ = reference(memory, given)
    with watch_gate(memory) as seen:
        log_q, _, _ = run(memory, given)
    torch.testing.assert_close(real(given, log_q), real(given, picked(given, expected)))
    torch.testing.assert_close(real(given, seen[0]), real(given, weights))


@CONFIGS
@pytest.mark.parametrize("options", CASES)
def test_the_whole_distribution_is_the_reference_and_its_entries_are_the_scores(config, options):
    memory, given = module(config), case(**options)
    expected, _, _ = reference(memory, given)
    scores, _, _ = run(memory, given)
    log_q, _, _ = run(memory, given, whole=0)
    torch.testing.assert_close(real(given, log_q), real(given, expected))
    torch.testing.assert_close(real(given, picked(given, log_q)), real(given, scores))
    sums = log_q.exp().sum(-1)
    torch.testing.assert_close(real(given, sums), torch.ones_like(real(given, sums)))


@CONFIGS
@pytest.mark.parametrize("whole", [None, 0, 5])
@pytest.mark.parametrize("options", CASES)
def test_gradients_are_those_of_the_reference(config, options, whole):
    memory, given = (
        module(config),
        case(time=30, **{k: v for k, v in options.items() if k != "time"}),
    )
    given.logits.requires_grad_()
    leaves = (given.logits, *memory.parameters())
    expected, _, _ = reference(memory, given)
    expected = picked(given, expected) if whole is None else expected[:, -whole:]
    log_q, _, _ = run(memory, given, whole=whole)
    kept = given if given.mask is None else given.part(30 - log_q.shape[1], 30)
    a, b = (torch.autograd.grad(real(kept, x).sin().sum(), leaves) for x in (log_q, expected))
    for mine, truth in zip(a, b, strict=True):
        torch.testing.assert_close(mine, truth)


@CONFIGS
@pytest.mark.parametrize("wanted", ["targets", "steps"])
def test_gradients_are_right(config, wanted):
    memory, given, next_one = module(config), case(), case(time=1, seed=1)
    _, state, _ = run(memory, given)
    with torch.no_grad():
        memory.start /= 4  # far from the limit of the logits

    def log_q(logits, *values):
        # What is learned while reading is held fixed. The gate is not moved by this one token, and
        # no learned context is written, as nothing had been predicted for it.
        inputs = next_one.hidden, next_one.came, logits, state
        options = {"targets": next_one.targets, "steps": 1}
        trained = dict(zip(names, values, strict=True))
        return functional_call(memory, trained, inputs, {wanted: options[wanted]})[0]

    names, values = zip(*memory.named_parameters(), strict=True)
    leaves = (next_one.logits, *values)
    leaves = tuple(leaf.detach().clone().requires_grad_() for leaf in leaves)
    assert torch.autograd.gradcheck(log_q, leaves)


@CONFIGS
@pytest.mark.parametrize("options", CASES)
def test_the_gate_has_learned_what_its_reference_has(config, options):
    memory, given = module(config), case(**options)
    _, _, truths = reference(memory, given)
    _, state, _ = run(memory, given)
    layer = state.layers["memory"]
    for b, truth in enumerate(truths):
        torch.testing.assert_close(layer.theta[b], truth.theta)
        assert torch.equal(layer.moved[b].double(), truth.moved)
        assert int(layer.used[b, 0]) == truth.tables.rows
        came = truth.came[-memory.heads.reach :]
        assert layer.recent[b].tolist() == [-1] * (memory.heads.reach - len(came)) + came


@CONFIGS
def test_an_empty_memory_is_the_model_exactly(config):
    given = case(batch=3, time=1)
    log_p = given.logits.log_softmax(-1)
    blank = module(replace(config, orders=(1, 2), fading_orders=(), fading=()))
    log_q, _, _ = run(blank, given, whole=0)
    assert torch.equal(log_q, log_p)
    scores, _, _ = run(blank, given)
    assert torch.equal(scores, picked(given, log_p))
    blank.enabled = False
    log_q, state, pending = run(blank, case(time=20), whole=3)
    assert torch.equal(log_q, case(time=20).logits.log_softmax(-1)[:, -3:])
    assert int(state.layers["memory"].used.sum()) == 0
    torch.testing.assert_close(pending.log_p, log_q[:, -1])


@for_all(st.integers(0, 30), st.integers(0, 5))
@settings(max_examples=15, deadline=None)
def test_a_token_is_scored_before_it_is_learned(t, seed):
    memory, given = module(LEARNED), case(batch=1, time=31, seed=seed)
    log_q, _, _ = run(memory, given)
    came, targets = given.came.clone(), given.targets.clone()
    came[:, t:] = (came[:, t:] + 1) % VOCABULARY
    targets[:, t:] = (targets[:, t:] + 2) % VOCABULARY
    other, _, _ = run(memory, replace(given, came=came, targets=targets))
    assert torch.equal(log_q[:, :t], other[:, :t])


@CONFIGS
def test_a_target_need_not_be_what_comes(config):
    memory, given = module(config), case()
    log_q, state, _ = run(memory, given, whole=0)
    other = replace(given, targets=(given.targets + 1) % VOCABULARY)
    scores, after, _ = run(memory, other)
    torch.testing.assert_close(scores, picked(other, log_q))
    same(state, after)


@CONFIGS
@pytest.mark.parametrize("seed", range(3))
def test_eviction_is_the_reference_and_keeps_the_budget(config, seed):
    # Without exact heads that fade: of two entries worth the same, rounding would choose.
    memory, given = module(replace(config, fading_orders=(), fading=()), seed), case(time=300)
    small = 150
    memory.rules = replace(memory.rules, capacity=small)
    expected, _, truths = reference(memory, given)
    log_q, state, _ = run(memory, given)
    torch.testing.assert_close(log_q, picked(given, expected))
    layer = state.layers["memory"]
    assert layer.used[:, 0].tolist() == [truth.tables.rows for truth in truths]
    assert int(layer.used[:, 0].max()) <= small


@pytest.mark.parametrize("vocabulary", [50, 4096])
def test_random_tokens_cost_less_than_a_hundredth_of_a_bit(vocabulary):
    memory = TableMemory(1, vocabulary, TablesConfig())
    g = torch.Generator().manual_seed(0)
    memory.spell(torch.randint(97, 123, memory.spelling.shape, generator=g))
    came = torch.randint(vocabulary, (1, 40_001), generator=g)
    logits, hidden = torch.zeros(1, 1, 1).expand(1, 4000, vocabulary), torch.zeros(1, 4000, 1)
    state, pending, cost = None, None, []
    with torch.inference_mode():
        for start in range(0, 40_000, 4000):
            now, then = came[:, start : start + 4000], came[:, start + 1 : start + 4001]
            log_q, state, pending = memory(
                hidden, now, logits, state, pending, targets=then, donate=True
            )
            cost.append(-log_q.mean().item() - math.log(vocabulary))
    assert sum(cost) / len(cost) / math.log(2) < 0.01


def test_a_learned_context_is_written_once_it_has_predicted():
    memory, given = (
        module(replace(LEARNED, orders=(), fading_orders=(), fading=(), bytes=())),
        case(),
    )
    first, second = given.part(0, 1), given.part(1, 2)
    _, state, pending = run(memory, first)
    assert int(state.layers["memory"].used[0, 0]) == 0
    _, after, _ = run(memory, second, state, pending)
    assert after.layers["memory"].used.tolist() == [[12, 2]] * 2  # A slots and entries of each head
    entries = after.layers["memory"].entries()
    slots, shares = pending.slots.sort().values, pending.shares
    torch.testing.assert_close(entries.weight.view(2, 6).square().sum(-1), shares.square().sum(-1))
    for b, found in enumerate(entries.slot.view(2, 6)):
        assert torch.equal(found.sort().values, slots[b])


def test_a_wrong_model_is_left_for_what_repeats():
    memory = TableMemory(1, 100, TablesConfig())
    came = (torch.arange(5001) % 7)[None]
    logits = torch.zeros(1, 5000, 100)
    logits[..., :7] = -12
    log_q, _, _ = memory(torch.zeros(1, 5000, 1), came[:, :-1], logits, targets=came[:, 1:])
    assert log_q[:, -1000:].mean() > -0.01


def test_slots_that_cannot_be_addressed_are_refused():
    with pytest.raises(ConfigError, match=r"tables.active is 8 .* 4 slots \(tables.slots\)"):
        TablesConfig(learned=(0.9,), slots=4)
    with pytest.raises(ConfigError, match=r"tables.slots = 99, .* 81 and 100"):
        TablesConfig(learned=(0.9,), slots=99, addressing="product")


def test_a_token_out_of_range_a_foreign_state_and_a_foreign_spelling_are_refused():
    memory, given = module(), case(time=3)
    for wrong in (-1, VOCABULARY):
        with pytest.raises(ScanError, match="0 to 5"):
            run(memory, replace(given, came=torch.full_like(given.came, wrong)), whole=1)
    with pytest.raises(StateError, match="streams, heads"):
        run(memory, given, memory.initial_state(3))
    with pytest.raises(StateError, match="TableMemory"):
        run(memory, given, FastWeights({}))
    with pytest.raises(ConfigError, match="last 2 bytes"):
        memory.spell(torch.zeros(VOCABULARY, 3))


WITHOUT_NUMBA = """
import sys
sys.modules["numba"] = None
import torch
from sparsemeta.ops.output import read_loop
from tests.nn.table_streams import case, module, run
assert not hasattr(read_loop.read, "py_func")
memory, given = module(), case(batch=1, time=30)
scores, state, _ = run(memory, given)
whole, _, _ = run(memory, given, whole=0)
torch.save((scores, whole, state.tensors()), sys.argv[1])
"""


def test_without_numba_the_same_loops_run_as_plain_python(tmp_path):
    path = tmp_path / "said.pt"
    subprocess.run([sys.executable, "-c", WITHOUT_NUMBA, str(path)], check=True)
    scores, whole, tensors = torch.load(path)
    memory, given = module(), case(batch=1, time=30)
    log_q, state, _ = run(memory, given)
    torch.testing.assert_close(scores, log_q)
    torch.testing.assert_close(whole, run(memory, given, whole=0)[0])
    for name, tensor in state.tensors().items():
        torch.testing.assert_close(tensors[name], tensor)


def test_watching_ends_with_its_block():
    memory, given = module(), case()
    with watch_gate(memory) as seen:
        run(memory, given)
        run(memory, given, whole=2)
    run(memory, given)
    assert [tuple(part.shape) for part in seen] == [(2, 40, 1 + len(memory.heads.order))] * 2
    assert torch.equal(*seen)
    torch.testing.assert_close(seen[0].sum(-1), torch.ones(2, 40, dtype=torch.float64))
    assert memory.heads.names[:3] == ["no context", "no context, keep 0.5", "last byte"]
    assert module(LEARNED).heads.names[:2] == [
        "nearest 3 learned slots, keep 0.9",
        "nearest 3 learned slots, keep 0.7",
    ]
