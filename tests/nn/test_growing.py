"""The growing form of a memory: whatever is done to it, it is the dense form in fewer rows."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from sparsemeta.errors import ConfigError, StateError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import MemoryConfig, SparseMemory

WIDTH = 8
CONFIG = MemoryConfig(
    slots=400, active=3, heads=2, key_width=8, value_width=5, retention=True, capacity=400
)


def make(config=CONFIG, **changes) -> SparseMemory:
    """A layer in float64 whose slow weights are drawn alike whatever its form."""
    torch.manual_seed(1)
    layer = SparseMemory(WIDTH, replace(config, **changes)).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer


def inputs(seed, batch=3, time=60):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, time, WIDTH, generator=g, dtype=torch.float64)
    mask, reset = torch.rand(2, batch, time, generator=g)
    return x, mask > 0.3, reset < 0.03


def assert_same(a: FastWeights, b: FastWeights, rounding: int = 0) -> None:
    """That two states hold the same, in whichever form, bit for bit.

    If `rounding` is given, their values may differ by that many units in the last place of 1, which
    all of them are about as large as; the slots and the steps are the same all the same.
    """
    apart = rounding * torch.finfo(torch.float64).eps
    assert a.layers.keys() == b.layers.keys()
    for layer in (*a.layers.values(), *b.layers.values()):
        for slots in [] if layer.slot is None else layer.slot.flatten(0, 1).tolist():
            claimed = {slot for slot in slots if slot != layer.shape[2]}
            assert claimed == set(slots[1 : len(claimed) + 1])  # each once, and before free rows
    for one, other in zip(a.layers.values(), b.layers.values(), strict=True):
        assert one.shape == other.shape
        (index, rows), (other_index, other_rows) = one.touched(), other.touched()
        assert torch.equal(index, other_index)
        torch.testing.assert_close(rows, other_rows, rtol=apart, atol=apart)
        assert torch.equal(one.last, other.last)
        assert torch.equal(one.steps, other.steps)


@given(
    cuts=st.lists(st.integers(1, 59), max_size=4, unique=True),
    resets=st.booleans(),
    donate=st.booleans(),
    numba=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=20, deadline=None)
def test_it_equals_the_dense_form(cuts, resets, donate, numba, seed):
    outcomes, x, mask, reset = [], *inputs(seed)
    weight = torch.randn_like(x)
    with pytest.MonkeyPatch.context() as patch:
        if not numba:
            patch.setattr("sparsemeta.ops.table.slots.usable", lambda x: False)
        for layer in (make(capacity=None), make()):
            x, state, parts, losses = x.detach().requires_grad_(), None, [], []
            for a, b in pairwise([0, *sorted(cuts), 60]):
                y, state = layer(
                    x[:, a:b],
                    state,
                    mask=mask[:, a:b],
                    reset=reset[:, a:b] if resets else None,
                    donate=donate,
                )
                parts.append(torch.where(mask[:, a:b, None], y.detach(), 0))
                losses.append((torch.where(mask[:, a:b, None], y, 0) * weight[:, a:b]).sum())
                if donate:  # what is to be overwritten has been looked back at
                    (losses.pop() + state.layers["memory"].table.square().sum()).backward()
                    state = state.detach()
            if not donate:
                (sum(losses) + state.layers["memory"].table.square().sum()).backward()
            grads = [leaf.grad for leaf in (x, *layer.parameters())]
            outcomes.append((torch.cat(parts, 1), state.detach(), grads))
    (y_dense, dense, grads_dense), (y, growing, grads) = outcomes
    assert torch.equal(y, y_dense)
    assert_same(growing, dense)
    for found, expected in zip(grads, grads_dense, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    rows = growing.layers["memory"].table.shape[2]
    assert 64 <= rows <= 256  # of 400


@given(seed=st.integers(0, 99), data=st.data())
@settings(max_examples=15, deadline=None)
def test_it_stays_the_dense_form_whatever_is_done_to_it(seed, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("state") / "memory"
    layers = [make(capacity=None), make()]
    x, mask, _ = inputs(seed, time=20)
    states = [layer(x, mask=mask)[1].detach() for layer in layers]
    for action in data.draw(
        st.lists(
            st.sampled_from(["read", "order", "concat", "clone", "reset", "save", "tensors"]),
            min_size=2,
            max_size=6,
        )
    ):
        batch, done = states[0].batch, []
        for layer, state in zip(layers, states, strict=True):
            match action:
                case "read":
                    streams = x.repeat(2, 1, 1)[:batch]
                    after = layer(streams, state, donate=True)[1].detach()
                case "order":
                    after = state.select(torch.arange(batch).roll(1))
                case "concat":  # of different lengths
                    _, longer = layer(x.flatten(0, 1)[None], None)
                    after = FastWeights.concat([state.select([0, 1]), longer.detach()])
                case "clone":
                    after = state.clone()
                case "reset":
                    after = state.reset(torch.arange(batch) == 1)
                case "save":
                    state.save(path, layer)
                    after = FastWeights.load(path, layer)
                case _:
                    after = FastWeights.from_tensors(state.tensors())
            done.append(after)
        states = done
        assert_same(*states)
    assert_same(
        *(layer(x[: states[0].batch], s)[1] for layer, s in zip(layers, states, strict=True))
    )


def test_each_form_reads_the_file_of_the_other(tmp_path):
    x = inputs(0)[0]
    layers = {"dense": make(capacity=None), "growing": make()}
    states = {name: layer(x)[1].detach() for name, layer in layers.items()}
    for name, state in states.items():
        state.save(tmp_path / name, layers[name])
    assert (tmp_path / "dense").stat().st_size == (tmp_path / "growing").stat().st_size
    for name, layer in layers.items():
        y_resumed, after_resumed = layer(x, states[name])
        for file in layers:
            loaded = FastWeights.load(tmp_path / file, layer)
            assert (loaded.layers["memory"].slot is None) == (name == "dense")
            assert_same(loaded, states[name])
            y, after = layer(x, loaded)
            assert torch.equal(y, y_resumed)
            assert_same(after, after_resumed)


def test_one_stream_does_not_touch_another():
    x, mask, _ = inputs(0, batch=2)
    mask[1, 5:] = False
    y, state = make()(x, mask=mask)
    other = torch.stack([torch.randn_like(x[0]), x[1]])
    y_beside, beside = make()(other, mask=mask)
    assert torch.equal(y_beside[1, :5], y[1, :5])
    assert_same(beside.select([1]), state.select([1]))
    _, alone = make()(x[1:, :5], mask=mask[1:, :5])
    assert_same(state.select([1]), alone, rounding=8)  # products of another size round otherwise
    order = torch.tensor([1, 0])
    y_permuted, permuted = make()(x[order], mask=mask[order])
    torch.testing.assert_close(y_permuted[order][mask], y[mask], rtol=1e-13, atol=1e-14)
    assert_same(permuted.select(order), state, rounding=8)


@pytest.mark.parametrize("donate", [True, False])
def test_at_its_capacity_it_says_so_and_changes_nothing(donate):
    x = inputs(0, batch=1)[0]
    _, state = make()(x)
    index, _ = state.layers["memory"].touched()
    most = int((index // 400).bincount().max())
    enough, short = make(capacity=most), make(capacity=most - 1)
    with torch.no_grad():
        _, full = enough(x)
        assert_same(full, state)
        _, half = short(x[:, :30])
        before = half.clone()
        with pytest.raises(StateError, match=rf"past {most - 1} \(memory.capacity\). Empty it"):
            short(x[:, 30:], half, donate=donate)
        assert_same(half, before)
        tensors, tensors_before = half.tensors(), before.tensors()
        assert all(torch.equal(tensors[name], tensors_before[name]) for name in tensors)
        short(x[:, 30:], half.reset(), donate=donate)


def test_a_file_beyond_the_capacity_is_refused(tmp_path):
    _, state = make()(inputs(0)[0])
    state.save(tmp_path / "memory", make())
    with pytest.raises(StateError, match=r"memory: a head .* more than memory.capacity = 9"):
        FastWeights.load(tmp_path / "memory", make(capacity=9))


def test_masked_steps_and_forgotten_streams_take_no_rows():
    layer, x = make(capacity=12), inputs(0)[0]
    step = torch.arange(60).expand(3, -1)
    _, state = layer(x, mask=step < 4)  # three writes: the first step has none to key one by
    _, after = layer(x, state, mask=step < 0)
    assert_same(after, state)
    claimed = after.layers["memory"].slot != 400
    assert claimed.sum() == len(after.layers["memory"].touched()[0])
    for _ in range(3):
        _, state = layer(x, state, reset=step % 4 == 0)
    assert 0 < state.stats()["memory"]["used"] <= 9 / 400


def test_resetting_frees_rows():
    layer, x = make(capacity=100), inputs(0, batch=2, time=40)[0]
    _, state = layer(x)
    with pytest.raises(StateError, match="is full"):
        layer(-x, state)
    _, after = layer(-x[:1], state.reset(torch.tensor([True, False])).select([0]))
    assert_same(after, layer(-x[:1])[1])


def test_a_state_of_the_other_form_is_refused():
    x = inputs(0)[0]
    with pytest.raises(
        StateError, match="holds every slot, but this layer has a table of written slots"
    ):
        make()(x, make(capacity=None)(x)[1])
    with pytest.raises(StateError, match="holds written slots only"):
        make(capacity=None)(x, make()(x)[1])
    with pytest.raises(StateError, match="shapes or forms differ"):
        FastWeights.concat([make()(x)[1], make(capacity=None)(x)[1]])


def test_a_capacity_that_cannot_be_is_refused():
    for changes in ({"capacity": 2}, {"capacity": 401}, {"addressing": "dense"}):
        with pytest.raises(ConfigError, match=r"memory\.capacity = "):
            replace(CONFIG, **changes)


class Small(TorchDispatchMode):
    """Refuses every operation that reads or makes a tensor of a million numbers."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        tensors, _ = tree_flatten((args, kwargs, out))
        assert all(t.numel() < 2**20 for t in tensors if isinstance(t, torch.Tensor)), func
        return out


def test_a_million_slots_cost_what_is_touched(tmp_path):
    config = replace(CONFIG, slots=2**20, capacity=None, addressing="product")
    with Small():
        layer = make(config)
        x, mask, reset = inputs(0)
        state = None
        for _ in range(3):
            y, state = layer(x, state, mask=mask, reset=reset, donate=True)
            y.sum().backward()
            state = state.detach()
        _, later = layer(x, state)
        state.save(tmp_path / "memory", layer)
        both = FastWeights.concat([FastWeights.load(tmp_path / "memory", layer), later.detach()])
        assert_same(both.select([0, 1, 2]), state)
        change = later.detach().diff(state)["memory"]
        assert change["changed"] > 0
        assert both.reset().stats()["memory"]["used"] == 0
    touched = len(state.layers["memory"].touched()[0])
    assert (tmp_path / "memory").stat().st_size < touched * (5 * 8 + 8) + 2000
    assert state.nbytes < 200_000
