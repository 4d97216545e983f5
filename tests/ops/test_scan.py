"""Invariant 1: every form equals the plain loop in float64, outputs and gradients alike."""

import gc
from dataclasses import replace
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.errors import ScanError
from sparsemeta.ops import Address, Segment, checked, product_address, scan, topk_address
from tests.ops.segments import DIFFERENTIABLE, run, segment, worst_error

FAST = ["chunked", "native"]
TOLERANCE = 1e-10


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("rule", ["delta", "hebbian"])
@pytest.mark.parametrize("time", [1, 2, 63, 64, 65])
@pytest.mark.parametrize(("active", "slots"), [(1, 5), (4, 7), (6, 6), (3, 4096)])
def test_equals_reference(backend, rule, time, active, slots):
    case = segment(time=time, active=active, slots=slots, rule=rule)
    assert worst_error(run(case, backend=backend), run(case, backend="reference")) < TOLERANCE


@pytest.mark.parametrize("backend", FAST)
def test_equals_reference_over_a_thousand_steps(backend):
    case = segment(batch=1, time=1000, heads=1, slots=64, decay=0.1, resets=0.003)
    assert worst_error(run(case, backend=backend), run(case, backend="reference")) < TOLERANCE


@given(
    time=st.integers(1, 40),
    chunk=st.integers(1, 64),
    active=st.integers(1, 5),
    read_active=st.integers(1, 5),
    slots=st.integers(1, 40),
    decay=st.sampled_from([0.0, 0.1, 8.0, 1000.0]),
    masked=st.sampled_from([0.0, 0.5, 1.0]),
    resets=st.sampled_from([0.0, 0.2, 1.0]),
    rule=st.sampled_from(["delta", "hebbian"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_equals_reference_whatever_the_shape(chunk, **shape):
    case = segment(**shape)
    expected = run(case, backend="reference")
    for backend in FAST:
        assert worst_error(run(case, backend=backend, chunk=chunk), expected) < TOLERANCE


@pytest.mark.parametrize("backend", FAST)
def test_strong_decay_on_hot_slots_does_not_overflow(backend):
    """In float32, e^{-L} of one slot decayed 64 times at g = -8 is far beyond the largest float."""
    case = segment(time=128, active=1, read_active=1, slots=1, decay=16.0, masked=0, resets=0)
    single = {n: t.float() for n, t in vars(case).items() if hasattr(t, "float")}
    single = {n: t if n in DIFFERENTIABLE else getattr(case, n) for n, t in single.items()}
    found = run(replace(case, **single), backend=backend)
    expected = run(case, backend="reference")
    assert worst_error(found, expected) < 1e-4


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize(("slots", "resets"), [(6, 0.2), (4096, 0.2), (4096, 0.0)])
def test_equals_reference_where_one_does_not_look(backend, slots, resets, monkeypatch):
    """On a GPU nobody asks how many rows there are, nor whether anything is reset."""
    for module in ("compact", "chunked"):
        monkeypatch.setattr(f"sparsemeta.ops.update.{module}.at_hand", lambda x: False)
    case = segment(slots=slots, resets=resets)
    assert worst_error(run(case, backend=backend), run(case, backend="reference")) < TOLERANCE


@pytest.mark.parametrize("backend", FAST)
@pytest.mark.parametrize("rule", ["delta", "hebbian"])
def test_gradcheck(backend, rule):
    case = segment(batch=1, time=5, heads=1, width=2, slots=4, rule=rule)
    leaves = tuple(getattr(case, name).clone().requires_grad_() for name in DIFFERENTIABLE)

    def of_leaves(*leaves):
        changed = replace(case, **dict(zip(DIFFERENTIABLE, leaves, strict=True)))
        return changed.scan(backend=backend, chunk=2)

    assert torch.autograd.gradcheck(of_leaves, leaves)


@given(
    cuts=st.lists(st.integers(1, 29), min_size=1, max_size=5, unique=True),
    backend=st.sampled_from(["reference", *FAST]),
    slots=st.sampled_from([8, 500]),
)
@settings(max_examples=30, deadline=None)
def test_any_split_of_a_stream_is_one_pass(cuts, backend, slots):
    case = segment(time=30, slots=slots)
    whole, final = case.scan(backend=backend)
    memory, reads = case.initial, []
    edges = [0, *sorted(cuts), 30]
    for start, stop in pairwise(edges):
        read, memory = case.part(start, stop, memory).scan(backend=backend)
        reads.append(read)
    real = case.mask
    torch.testing.assert_close(torch.cat(reads, 1)[real], whole[real], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(memory, final, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("backend", ["reference", *FAST])
class TestInvariants:
    def test_causality(self, backend):
        case = segment(time=30, masked=0, resets=0)
        before, _ = case.scan(backend=backend)
        for name in ("write_index", "read_index"):
            getattr(case, name)[:, 17:] = 0
        for name in ("value", "rate", "log_retention", "write_weight", "read_weight"):
            getattr(case, name)[:, 17:] *= 0.5
        after, _ = case.scan(backend=backend)
        assert torch.equal(before[:, :17], after[:, :17])
        assert not torch.allclose(before[:, 17:], after[:, 17:])

    def test_a_read_sees_its_own_write(self, backend):
        case = segment(time=1, active=1, read_active=1, slots=1, decay=0, masked=0, resets=0)
        ones = {name: torch.ones_like(getattr(case, name)) for name in ("rate", "read_weight")}
        read, _ = replace(case, **ones).scan(backend=backend)
        torch.testing.assert_close(read, case.value)

    def test_a_masked_step_writes_nothing(self, backend):
        case = segment(time=9, masked=0, resets=0)
        case.mask[:, 4] = False
        for name in ("value", "rate", "log_retention", "write_weight", "read_weight"):
            getattr(case, name)[:, 4] = float("nan")  # padding may hold anything
        _, final = case.scan(backend=backend)
        case.value[:, 4] = 1e6
        _, other = case.scan(backend=backend)
        assert torch.equal(final, other)
        assert final.isfinite().all()

    def test_a_reset_separates_runs(self, backend):
        case = segment(time=20, resets=0)
        case.reset[:, 13] = True
        whole = run(case, backend=backend)
        first = run(case.part(0, 13, case.initial), backend=backend)
        second = case.part(13, 20, torch.zeros_like(case.initial))
        second = run(replace(second, reset=torch.zeros_like(second.reset)), backend=backend)
        joined = {"read": torch.cat([first["read"], second["read"]], dim=1)}
        assert worst_error(joined, {"read": whole["read"]}) < TOLERANCE
        assert worst_error({"final": second["final"]}, {"final": whole["final"]}) < TOLERANCE
        d_value = {"d_value": whole["d_value"][:, 13:]}
        assert worst_error({"d_value": second["d_value"]}, d_value) < TOLERANCE

    def test_a_reset_counts_at_a_masked_step(self, backend):
        case = segment(time=3, masked=0, resets=0)
        case.mask[:, 1:], case.reset[:, 1] = False, True
        _, final = case.scan(backend=backend)
        assert not final.any()

    def test_streams_do_not_touch(self, backend):
        case = segment(batch=4)
        order = torch.tensor([2, 0, 3, 1])
        permuted = {n: t[order] for n, t in vars(case).items() if isinstance(t, torch.Tensor)}
        read, final = case.scan(backend=backend)
        read_permuted, final_permuted = replace(case, **permuted).scan(backend=backend)
        torch.testing.assert_close(read_permuted, read[order], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(final_permuted, final[order], rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("slots", [8, 4096])
    @pytest.mark.parametrize("resets", [0.0, 0.1])
    @pytest.mark.parametrize("training", [True, False])
    def test_overwriting_changes_no_result(self, backend, slots, resets, training):
        case = segment(slots=slots, resets=resets)
        read, final = case.scan(backend=backend)
        value = case.value.clone().requires_grad_(training)
        with torch.set_grad_enabled(training):
            spare = case.initial.clone()
            read_over, final_over = replace(case, value=value, initial=spare).scan(
                backend=backend, donate=True
            )
        assert torch.equal(read_over, read)
        assert torch.equal(final_over, final)
        if training:
            expected = run(case, backend="reference")["d_value"]
            read_over = torch.where(case.mask[:, :, None, None], read_over, 0)
            (read_over.sin().sum() + final_over.cos().sum()).backward()
            torch.testing.assert_close(value.grad, expected, rtol=1e-10, atol=1e-12)

    def test_overwriting_spoils_no_gradient_through_two_segments(self, backend):
        case = segment(time=20, slots=8, resets=0)
        expected = run(case, backend="reference")["d_value"]
        value, spare = case.value.clone().requires_grad_(), case.initial.clone()
        whole = replace(case, value=value)
        first, memory = whole.part(0, 12, spare).scan(backend=backend, donate=True)
        second, memory = whole.part(12, 20, memory).scan(backend=backend, donate=True)
        reads = torch.where(case.mask[:, :, None, None], torch.cat([first, second], 1), 0)
        (reads.sin().sum() + memory.cos().sum()).backward()
        torch.testing.assert_close(value.grad, expected, rtol=1e-10, atol=1e-12)

    def test_inputs_are_left_alone(self, backend):
        case = segment()
        before = {n: t.clone() for n, t in vars(case).items() if isinstance(t, torch.Tensor)}
        run(case, backend=backend)
        assert all(torch.equal(getattr(case, name), tensor) for name, tensor in before.items())


@pytest.mark.parametrize("backend", FAST)
class TestOverwriting:
    """What has been overwritten is never used for a gradient as if it had not been."""

    def loss(self, case, reads, memory):
        reads = torch.where(case.mask[:, :, None, None], reads, 0)
        return reads.sin().sum() + memory.cos().sum()

    @pytest.mark.parametrize("slots", [8, 4096])
    def test_a_learned_memory_is_kept(self, backend, slots):
        case = segment(slots=slots, resets=0)
        learned = case.initial.clone().requires_grad_()
        read, final = replace(case, initial=learned).scan(backend=backend, donate=True)
        assert torch.equal(learned, case.initial)
        self.loss(case, read, final).backward()
        expected = run(case, backend="reference")["d_initial"]
        torch.testing.assert_close(learned.grad, expected, rtol=1e-10, atol=1e-12)

    def test_part_of_another_tensor_may_be_passed(self, backend):
        case = segment(slots=4096, resets=0)
        value, memory = case.value.clone().requires_grad_(), torch.stack([case.initial] * 2)
        case = replace(case, value=value, initial=memory[1])
        self.loss(case, *case.scan(backend=backend, donate=True)).backward()
        expected = run(segment(slots=4096, resets=0), backend="reference")["d_value"]
        torch.testing.assert_close(value.grad, expected, rtol=1e-10, atol=1e-12)
        assert torch.equal(memory[0], segment(slots=4096).initial)

    def test_who_needed_it_as_it_was_is_told(self, backend):
        case = segment(slots=4096, resets=0)
        factor = torch.ones((), dtype=torch.float64, requires_grad=True)
        needs = (factor * case.initial).sum()
        with torch.no_grad():
            case.scan(backend=backend, donate=True)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            needs.backward()


def test_training_costs_what_is_touched():
    """The table stays where it is, and what is saved for the backward pass knows nothing of N."""
    saved = {64: [], 4096: []}
    for slots, sizes in saved.items():
        case = segment(slots=64, resets=0, masked=0)
        value = case.value.clone().requires_grad_()
        table = torch.zeros(2, 2, slots, 4, dtype=torch.float64)
        case = replace(case, value=value, slots=slots, initial=table)
        note = partial(lambda sizes, x: sizes.append(x.numel()), sizes)
        with torch.autograd.graph.saved_tensors_hooks(note, id):
            _, final = case.scan(backend="native", donate=True)
        assert final.data_ptr() == table.data_ptr()
    assert saved[64] == saved[4096]


@pytest.mark.parametrize("backend", FAST)
def test_a_stream_that_is_cut_into_segments_keeps_none_of_them(backend):
    """Each memory is a tensor of its own: a chain to those before would grow with the stream."""
    case = segment(resets=0)
    value, memory, alive = case.value.clone().requires_grad_(), case.initial, []
    for _ in range(4):
        part = replace(case, value=value, initial=memory)
        read, after = part.scan(backend=backend, donate=True)
        read.sum().backward()
        memory = after.detach()
        gc.collect()
        alive.append(sum(type(x) is torch.Tensor for x in gc.get_objects()))
    assert len(set(alive[1:])) == 1


def test_without_gradients_nothing_is_saved(monkeypatch):
    """Not even where weights that could learn are among the inputs."""
    monkeypatch.setattr("sparsemeta.ops.update.inplace._InPlace", None)
    case = segment()
    with torch.no_grad():
        replace(case, value=case.value.clone().requires_grad_()).scan(backend="native")


def test_a_retained_row_is_scaled_once_though_named_twice():
    index = torch.zeros(1, 1, 1, 2, dtype=torch.int64)
    weight, value = torch.full((1, 1, 1, 2), 0.5), torch.zeros(1, 1, 1, 3)
    rate, log_retention = torch.zeros(1, 1, 1), torch.full((1, 1, 1), -1.0)
    for backend in ("reference", *FAST):
        twice = Address(index, weight)
        segment = Segment(twice, value, rate, log_retention, twice)
        _, final = scan(segment, slots=1, initial=torch.ones(1, 1, 1, 3), backend=backend)
        torch.testing.assert_close(final, torch.full_like(final, -1.0).exp())


def test_bad_input_is_refused_by_name():
    case = segment()
    with pytest.raises(ScanError, match=r"write\.index holds slots .* outside \[0, 4\)"):
        replace(case, slots=4, initial=case.initial[:, :, :4]).scan()
    with pytest.raises(ScanError, match="initial has shape"):
        replace(case, initial=case.initial[:, :, :4]).scan()
    with pytest.raises(ScanError, match=r"rate is torch.float32 but the memory is torch.float64"):
        replace(case, rate=case.rate.float()).scan()
    with pytest.raises(ScanError, match="no steps"):
        case.part(3, 3, case.initial).scan()
    with pytest.raises(ScanError, match="choose 'delta' or 'hebbian'"):
        replace(case, rule="oja").scan()


def test_values_are_looked_at_when_asked():
    case = segment(masked=0.3)
    first = case.mask.nonzero()[0]
    bad = {
        "value": (float("nan"), "value holds 1 values that are NaN"),
        "write_weight": (float("inf"), r"write\.weight holds 1 values"),
        "rate": (1.5, r"rate leaves \[0, 1\]"),
        "log_retention": (0.5, "log_retention is above 0"),
    }
    for name, (number, message) in bad.items():
        tensor = getattr(case, name).clone()
        tensor[first[0], first[1]].view(-1)[0] = number
        spoilt = replace(case, **{name: tensor})
        with checked(), pytest.raises(ScanError, match=message):
            spoilt.scan()
        spoilt.scan()
    with checked():
        case.value[~case.mask] = float("nan")
        case.scan()


def test_an_address_cannot_have_more_slots_than_there_are():
    query, keys = torch.randn(1, 3, 2), torch.randn(2, 1, 4, 1)
    with pytest.raises(ScanError, match="5 slots cannot be taken from 4"):
        topk_address(query, torch.randn(1, 4, 2), 5)
    with pytest.raises(ScanError, match="17 slots cannot be taken from 16"):
        product_address(query, keys, 17)
