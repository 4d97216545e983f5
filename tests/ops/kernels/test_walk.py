"""The walk over a segment and the walk back equal the plain loop, outputs and gradients alike."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st

from sparsemeta.config import MemoryConfig
from sparsemeta.nn import SparseMemory
from sparsemeta.ops import Address, Segment, scan
from sparsemeta.ops.update.inplace import inputs_of
from sparsemeta.ops.update.triton.form import WALK
from tests.ops.segments import DIFFERENTIABLE, Case, run, segment, worst_error

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def cast(case: Case, dtype=torch.float64) -> Case:
    """A case on the device, its floats in a dtype."""
    moved = {n: t.to(DEVICE) for n, t in vars(case).items() if isinstance(t, torch.Tensor)}
    return replace(case, **moved | {name: moved[name].to(dtype) for name in DIFFERENTIABLE})


def both(case: Case, **options) -> float:
    """How far the kernels are from the loop."""
    return worst_error(run(case, backend="triton", **options), run(case, backend="reference"))


@given(
    time=st.integers(1, 8),
    active=st.integers(1, 5),
    read_active=st.integers(1, 5),
    width=st.sampled_from([1, 3, 4, 37]),
    slots=st.sampled_from([1, 3, 9, 40]),
    heads=st.integers(1, 2),
    decay=st.sampled_from([0.0, 0.1, 8.0, 1000.0]),
    masked=st.sampled_from([0.0, 0.5, 1.0]),
    resets=st.sampled_from([0.0, 0.2, 1.0]),
    rule=st.sampled_from(["delta", "hebbian"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_equals_the_loop_whatever_the_shape(**shape):
    case = segment(batch=1, **shape)
    if shape["resets"] == 0:
        case = replace(case, reset=None)
    assert both(cast(case)) < 1e-10


def test_streams_and_heads_do_not_touch():
    assert both(cast(segment(batch=3, time=4, heads=2, width=2))) < 1e-10


def test_float32_is_as_close_as_it_can_be():
    exact = segment(time=6, batch=1, slots=6, masked=0)
    found = run(cast(exact, torch.float32), backend="triton")
    expected = run(cast(exact), backend="reference")
    assert worst_error(found, expected) < 1e-5


def test_half_precision_is_taken_in_and_the_memory_stays_fine():
    case = cast(segment(time=5, batch=1, masked=0, resets=0), torch.bfloat16)
    fine = cast(case, torch.float32)
    leaves = [case.value.clone().requires_grad_(), fine.value.clone().requires_grad_()]
    rounded, same = (
        replace(x, value=v, initial=fine.initial) for x, v in zip((case, fine), leaves, strict=True)
    )
    read, final = rounded.scan(backend="triton")
    expected = same.scan(backend="reference")
    assert read.dtype == final.dtype == torch.float32
    torch.testing.assert_close((read, final), expected, rtol=1e-5, atol=1e-6)
    read.sin().sum().backward()
    expected[0].sin().sum().backward()
    assert leaves[0].grad.dtype == torch.bfloat16
    torch.testing.assert_close(leaves[0].grad.float(), leaves[1].grad, rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize("cuts", [(1,), (2, 3, 7)])
def test_any_split_of_a_stream_is_one_pass(cuts):
    case = cast(segment(batch=1, time=8, heads=1, slots=60))
    whole, final = case.scan(backend="triton")
    memory, reads = case.initial, []
    for start, stop in pairwise([0, *cuts, 8]):
        read, memory = case.part(start, stop, memory).scan(backend="triton")
        reads.append(read)
    real = case.mask
    torch.testing.assert_close(torch.cat(reads, 1)[real], whole[real], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(memory, final, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("slots", [4, 90])
def test_gradients_through_two_segments_that_overwrite_the_memory(slots):
    case = cast(segment(batch=1, time=6, heads=1, slots=slots, resets=0, masked=0))
    expected = run(case, backend="reference")["d_value"]
    value, spare = case.value.clone().requires_grad_(), case.initial.clone()
    whole = replace(case, value=value, reset=None)
    first, memory = whole.part(0, 4, spare).scan(backend="triton", donate=True, reset=None)
    second, memory = whole.part(4, 6, memory).scan(backend="triton", donate=True, reset=None)
    assert memory.data_ptr() == spare.data_ptr()
    (torch.cat([first, second], 1).sin().sum() + memory.cos().sum()).backward()
    torch.testing.assert_close(value.grad, expected, rtol=1e-10, atol=1e-12)


def test_what_was_overwritten_is_used_for_no_gradient():
    case = cast(segment(batch=1, time=2, heads=1))
    factor = torch.ones((), dtype=torch.float64, device=DEVICE, requires_grad=True)
    needs = (factor * case.initial).sum()
    with torch.no_grad():
        case.scan(backend="triton", donate=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        needs.backward()


def test_a_slot_outside_the_table_is_neither_read_nor_written():
    index = torch.tensor([[[[5, 1]], [[-3, 0]]]], device=DEVICE)
    weight = torch.ones(1, 2, 1, 2, device=DEVICE)
    far, none = Address(index, weight), torch.zeros(1, 2, 1, device=DEVICE)
    value, table = torch.ones(1, 2, 1, 3, device=DEVICE), torch.randn(2, 1, 5, 3, device=DEVICE)
    given = Segment(far, value, none + 1, None, far)
    with torch.no_grad():
        before = table.clone()
        WALK.forward(inputs_of(given), table[:1], "delta", False)
    assert torch.equal(table[1], before[1])
    assert torch.equal(table[0, 0, 2:], before[0, 0, 2:])
    with pytest.raises(AssertionError):
        torch.testing.assert_close(table[0, 0, :2], before[0, 0, :2])


def test_a_layer_learns_as_by_the_loop():
    found = []
    for backend in ("triton", "reference"):
        torch.manual_seed(1)
        config = MemoryConfig(slots=25, active=3, heads=2, value_width=5, backend=backend)
        layer = SparseMemory(8, config).double().to(DEVICE)
        torch.nn.init.normal_(layer.output.weight)
        x = torch.randn(1, 3, 8, dtype=torch.float64).to(DEVICE)
        y, state = layer(x)
        y, _ = layer(x[:, :2], state.detach())
        y.sin().sum().backward()
        found.append([y.detach(), *(p.grad for p in layer.parameters() if p.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_a_wide_address_is_shared_by_several_warps():
    case = cast(segment(batch=1, time=3, heads=1, active=20, read_active=33, slots=60, width=40))
    assert both(case) < 1e-10
    assert scan(case.segment, slots=60, backend="triton")[0].shape == case.value.shape
