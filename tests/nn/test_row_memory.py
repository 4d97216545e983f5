"""The row memory: against its equations, one step after the other, and what it keeps to."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings, strategies as st
from torch.nn.functional import normalize, rms_norm
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import RowMemory, RowsConfig, memory_off

WIDTH, CLASSES = 6, 9
CONFIG = RowsConfig(half_lives=(3.0, 20.0, 0.0), key_width=4)
INPUTS = ("hidden", "came", "feedback", "revealed", "mask", "reset")


def make(config=CONFIG, classes=CLASSES) -> RowMemory:
    """A memory with every slow weight drawn at random, in float64."""
    torch.manual_seed(1)
    layer = RowMemory(WIDTH, classes, config).double()
    for name, parameter in layer.named_parameters():
        if name != "log_half_life":
            torch.nn.init.normal_(parameter, std=0.5)
    return layer


def inputs(seed=0, batch=2, time=24, classes=CLASSES) -> dict[str, torch.Tensor]:
    """A segment of streams; the class is nonsense where none is revealed, as data may have it."""
    g = torch.Generator().manual_seed(seed)
    hidden, feedback = torch.randn(2, batch, time, WIDTH, generator=g, dtype=torch.float64)
    came = torch.randint(0, classes, (batch, time), generator=g)
    revealed, mask, reset = torch.rand(3, batch, time, generator=g)
    marks = (revealed > 0.2, mask > 0.2, reset < 0.06)
    came = came.where(marks[0], -1)
    return dict(zip(INPUTS, (hidden, came, feedback, *marks), strict=True))


def run(layer, given, cuts=(), state=None, **options):
    """What is added to the logits of all classes, piece by piece, and the state after."""
    added, time = [], given["came"].shape[1]
    for start, stop in pairwise([0, *sorted(cuts), time]):
        part = {name: x[:, start:stop] for name, x in given.items()}
        hidden = part.pop("hidden")
        scores, state = layer(hidden, part.pop("came"), state, **part, **options)
        blank = hidden.new_zeros(*hidden.shape[:2], layer.classes)
        added.append(scores.add_to(blank))
    return torch.cat(added, dim=1), state


def loop(layer, given):
    """The equations, for one stream and step at a time; a row for every class."""
    limited = [half_life > 0 for half_life in layer.config.half_lives]
    left = torch.where(torch.tensor(limited), 0.5 ** (1 / layer.log_half_life.exp()), 1)
    heads = len(left)
    added = []
    for hidden, came, feedback, *marks in zip(*given.values(), strict=True):
        memory, previous = hidden.new_zeros(layer.classes, heads, layer.config.key_width), None
        for h, x, f, revealed, real, reset in zip(hidden, came, feedback, *marks, strict=True):
            if reset:
                memory, previous = torch.zeros_like(memory), None
            if real:
                memory = left[:, None] * memory
                if previous is not None and revealed:
                    key = torch.cat([layer.key(previous).view(heads, -1), layer.constant], dim=1)
                    told = torch.cat([previous, rms_norm(f, (WIDTH,))])
                    rate = torch.sigmoid(layer.rate(told))[:, None]
                    row = memory[x] + rate * (normalize(key, dim=1) - memory[x])
                    memory = memory.index_put((x,), row)
                previous = h
            gain = 2 * torch.sigmoid(layer.gain(h))[:, None]
            added.append(torch.einsum("hk,vhk->v", gain * layer.query(h).view(heads, -1), memory))
    return torch.stack(added).view(*given["came"].shape, -1)


def gradients(layer, added, given):
    """Of a fixed non-linear function of what is added, by every parameter."""
    loss = torch.where(given["mask"][..., None], added, 0).sin().sum()
    parameters = list(layer.parameters())
    return torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 30),
    st.sets(st.integers(1, 29), max_size=4),
    st.sampled_from([(5.0,), (0.0,), (3.0, 0.0), (2.0, 9.0, 0.0)]),
    st.integers(2, 5),
    st.integers(0, 999),
)
def test_it_is_its_equations_with_all_gradients(batch, time, cuts, half_lives, key_width, seed):
    layer = make(RowsConfig(half_lives, key_width))
    given = inputs(seed, batch, time)
    expected = loop(layer, given)
    found, _ = run(layer, given, [cut for cut in cuts if cut < time], donate=True)
    torch.testing.assert_close(found[given["mask"]], expected[given["mask"]])
    pairs = zip(gradients(layer, found, given), gradients(layer, expected, given), strict=True)
    for one, other in pairs:
        torch.testing.assert_close(one, other)


@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.integers(1, 39)),
    st.booleans(),
    st.booleans(),
    st.sampled_from([(), ("reset",), ("reset", "mask"), ("reset", "mask", "revealed")]),
    st.integers(0, 999),
)
def test_it_reads_the_same_in_any_pieces_without_gradients(cuts, donate, numba, blank, seed):
    layer, given = make(classes=300), inputs(seed, time=40, classes=300)
    for name in blank:
        given[name] = torch.full_like(given[name], name != "reset")
    given["came"] = given["came"].clamp(min=0)
    expected, end = run(layer, given)
    given = {name: x for name, x in given.items() if name not in blank}
    with torch.no_grad(), pytest.MonkeyPatch.context() as patch:
        if not numba:
            for module in ("table.slots", "output.rows"):
                patch.setattr(f"sparsemeta.ops.{module}.usable", lambda x: False)
        found, state = run(layer, given, cuts, donate=donate)
    real = given.get("mask", torch.ones(2, 40, dtype=torch.bool))
    torch.testing.assert_close(found[real], expected[real])
    assert_same(state, end)


def assert_same(state, other):
    one, two = state.layers["memory"], other.layers["memory"]
    (index, rows), (other_index, other_rows) = one.touched(), two.touched()
    assert torch.equal(index, other_index)
    assert torch.equal(one.steps, two.steps)
    torch.testing.assert_close(rows, other_rows)
    torch.testing.assert_close(one.last, two.last)


def test_a_new_one_adds_exactly_nothing_and_so_does_an_empty_one():
    given = inputs()
    new = RowMemory(WIDTH, CLASSES, CONFIG).double()
    assert not run(new, given)[0].any()
    first = {name: x[:, :1] for name, x in given.items()}
    assert not run(make(), first)[0].any()
    half_lives = new.log_half_life.exp()[:2]
    torch.testing.assert_close(half_lives, torch.tensor([3.0, 20.0]).double())


def test_off_it_adds_nothing_and_leaves_the_state():
    layer, given = make(), inputs()
    _, state = run(layer, given)
    with memory_off(layer, ["rows"]):
        added, after = run(layer, given, state=state)
    assert not added.any()
    assert after is state
    with memory_off(layer, ["hidden"]):
        assert run(layer, given, state=state)[0].any()


@pytest.mark.parametrize("time", [3, 24])
def test_a_state_that_is_kept_is_not_changed(time):
    layer, given = make(classes=300), inputs(time=24, classes=300)
    part = {name: x[:, :time] for name, x in given.items()}
    with torch.no_grad():
        _, state = run(layer, given)
        before = state.clone()
        first, _ = run(layer, part, state=state)
        second, _ = run(layer, part, state=state)
    assert torch.equal(first, second)
    for name, tensor in before.tensors().items():
        assert torch.equal(tensor, state.tensors()[name])


def test_a_donated_table_stays_where_it_is():
    layer, given = make(), inputs()
    given["reset"] = torch.zeros_like(given["reset"])
    one = {name: x[:, :1] for name, x in given.items() if name != "reset"}
    with torch.no_grad():
        _, state = run(layer, given)
        _, after = run(layer, one, state=state, donate=True)
    assert after.layers["memory"].table.data_ptr() == state.layers["memory"].table.data_ptr()


def test_saved_loaded_selected_and_joined_it_goes_on_as_before(tmp_path):
    layer, given = make(), inputs()
    _, state = run(layer, given)
    _, end = run(layer, given, state=state)
    state.detach().save(tmp_path / "rows.safetensors", layer)
    loaded = FastWeights.load(tmp_path / "rows.safetensors", layer)
    swapped = {name: x.flip(0) for name, x in given.items()}
    assert_same(run(layer, given, state=loaded)[1], end)
    assert_same(run(layer, swapped, state=state.select([1, 0]))[1].select([1, 0]), end)
    joined = FastWeights.concat([state.select([0]), state.select([1])])
    assert_same(run(layer, given, state=joined)[1], end)


def test_forks_are_merged_row_by_row():
    layer, given = make(), inputs(batch=1)
    given["reset"] = torch.zeros_like(given["reset"])
    with torch.no_grad():
        _, start = run(layer, given)
        _, one = run(layer, given | {"came": torch.zeros_like(given["came"])}, state=start)
        _, two = run(layer, given | {"came": torch.ones_like(given["came"])}, state=start)
    merged = one.merge(two, start).layers["memory"]
    rows = {
        name: dict(zip(*(part.tolist() for part in state.layers["memory"].touched()), strict=True))
        for name, state in {"one": one, "two": two, "merged": one.merge(two, start)}.items()
    }
    assert rows["merged"][0] == rows["one"][0]
    assert rows["merged"][1] == rows["two"][1]
    assert merged.steps.tolist() == [3 * int(given["mask"].sum())]


def test_a_state_of_another_is_refused():
    layer, given = make(), inputs()
    _, state = run(make(classes=10), given)
    with pytest.raises(StateError, match="this layer reads"):
        run(layer, given, state=state)
    with pytest.raises(StateError, match="one RowMemory"):
        run(layer, given, state=FastWeights({"other": state.layers["memory"]}))


@pytest.mark.parametrize("gradients", [True, False])
def test_bfloat16_stops_at_the_memory(gradients):
    layer = make().float()
    given = {k: x.float() if x.is_floating_point() else x for k, x in inputs(time=6).items()}
    del given["reset"]
    expected, _ = run(layer, given)
    with torch.set_grad_enabled(gradients), torch.autocast("cpu", torch.bfloat16):
        found, state = run(layer, given)
        assert state.layers["memory"].table.dtype == torch.float32
    real = given["mask"]
    torch.testing.assert_close(found.float()[real], expected[real], rtol=0.05, atol=0.05)
    half = {k: x.bfloat16() if x.is_floating_point() else x for k, x in given.items()}
    with torch.set_grad_enabled(gradients):
        found, state = run(layer.bfloat16(), half)
    assert state.layers["memory"].table.dtype == torch.float32
    torch.testing.assert_close(found.float()[real], expected[real], rtol=0.1, atol=0.1)


class Sizes(TorchDispatchMode):
    """Notes how many numbers the largest result has."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        sizes = [x.untyped_storage().nbytes() for x in tree_flatten(out)[0] if torch.is_tensor(x)]
        self.largest = max([self.largest, *sizes])
        return out


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("time", [1, 20])
def test_no_operation_is_of_the_size_of_all_classes(gradients, time):
    layer, classes = make(classes=1_000_000), 1_000_000
    given = inputs(time=time, classes=classes)
    given["came"] = given["came"].clamp(min=0)
    with torch.set_grad_enabled(gradients), Sizes() as sizes:
        state = None
        for _ in range(3):
            scores, state = layer(given["hidden"], given["came"], state, feedback=given["feedback"])
        loss = scores.of(given["came"]).sum()
        if gradients:
            loss.backward()
    assert sizes.largest < classes / 10


def test_what_comes_later_changes_nothing_before():
    layer, given = make(), inputs()
    whole, _ = run(layer, given)
    for stop in (1, 7, 19):
        part = {name: x[:, :stop] for name, x in given.items()}
        torch.testing.assert_close(run(layer, part)[0], whole[:, :stop])


def test_streams_do_not_touch():
    layer, given = make(), inputs(batch=3)
    order = torch.tensor([2, 0, 1])
    moved = {name: x[order] for name, x in given.items()}
    torch.testing.assert_close(run(layer, moved)[0], run(layer, given)[0][order])


def test_half_lives_are_halved_by_them():
    layer = make(replace(CONFIG, half_lives=(4.0, 0.0)))
    left = layer.log_retention().exp()
    torch.testing.assert_close(left, torch.tensor([math.pow(0.5, 0.25), 1.0]).double())
