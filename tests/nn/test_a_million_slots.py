"""The invariants at N = 2^20, in either form, on a table that holds something in every row."""

import hashlib

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from sparsemeta.fast_weights import FastWeights, LayerWeights
from sparsemeta.nn import MemoryConfig, SparseMemory, memory_off

WIDTH, SLOTS, TIME = 8, 2**20, 40
CONFIG = MemoryConfig(
    slots=SLOTS,
    active=4,
    heads=1,
    key_width=8,
    value_width=2,
    addressing="product",
    retention=True,
)


@pytest.fixture(scope="module")
def layer() -> SparseMemory:
    torch.manual_seed(1)
    layer = SparseMemory(WIDTH, CONFIG)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return layer.double()


@pytest.fixture(params=["native", "chunked"], autouse=True)
def backend(request, monkeypatch):
    """Both fast forms: without numba there is only the chunked one."""
    if request.param == "chunked":
        monkeypatch.setattr("sparsemeta.ops.compiled.installed", lambda name: False)
    return request.param


@pytest.fixture(params=["growing", "dense"], autouse=True)
def form(request, monkeypatch):
    """The form that so many slots have, and the one that few have."""
    if request.param == "dense":
        monkeypatch.setattr("sparsemeta.nn.sparse_memory.DENSE_SLOTS", SLOTS)
    return request.param


def full(layer: SparseMemory, batch: int = 1) -> FastWeights:
    """A state with something in every row, after some steps."""
    rows = torch.randn(batch * SLOTS, 2, dtype=torch.float64)
    last, steps = torch.randn(batch, WIDTH, dtype=torch.float64), torch.full((batch,), 9)
    made = LayerWeights.of_rows(layer.layout, torch.arange(batch * SLOTS), rows, last, steps)
    return FastWeights({"memory": made})


def steps(batch: int = 1) -> torch.Tensor:
    return torch.randn(batch, TIME, WIDTH, dtype=torch.float64)


def table(state: FastWeights) -> torch.Tensor:
    """What it holds, as (B, H, N, V)."""
    layer = state.layers["memory"]
    if layer.slot is None:
        return layer.table
    place = layer.slot[..., None].expand_as(layer.table)
    dense = layer.table.new_zeros(*layer.shape[:2], SLOTS + 1, 2)
    return dense.scatter(2, place, layer.table)[:, :, :SLOTS]


def written(layer: SparseMemory, x: torch.Tensor, last: torch.Tensor) -> torch.Tensor:
    """Which slots (N,) bool the steps write, by the layer's own addressing."""
    index, _ = layer.addressing(torch.cat([last[:, None], x], 1)[:, :-1])
    return torch.zeros(SLOTS, dtype=torch.bool).index_fill_(0, index.flatten(), True)


def digest(rows: torch.Tensor) -> str:
    return hashlib.sha256(rows.numpy().tobytes()).hexdigest()


@pytest.mark.parametrize("donate", [True, False])
def test_untouched_rows_stay_bit_for_bit(layer, donate):
    state, x = full(layer), steps()
    changed = written(layer, x, state.layers["memory"].last)
    before, old = digest(table(state)[0, 0, ~changed]), table(state)[0, 0, changed].clone()
    with torch.no_grad():
        _, after = layer(x, state, donate=donate)
    assert digest(table(after)[0, 0, ~changed]) == before
    assert (table(after)[0, 0, changed] != old).any(-1).all()


def test_a_split_with_masks_and_resets_is_one_pass_with_its_gradients(layer):
    state, x = full(layer), steps().requires_grad_()
    mask, reset = torch.rand(1, TIME) > 0.2, torch.zeros(1, TIME, dtype=torch.bool)
    reset[:, 25] = True
    whole, final = layer(x, state, mask=mask, reset=reset)
    first, middle = layer(x[:, :17], state, mask=mask[:, :17])
    second, end = layer(x[:, 17:], middle, mask=mask[:, 17:], reset=reset[:, 17:])
    parts = torch.cat([first, second], dim=1)
    torch.testing.assert_close(
        torch.where(mask[..., None], parts - whole, 0).abs().max().item(), 0.0
    )
    torch.testing.assert_close(table(end), table(final))
    upstream = torch.where(mask[..., None], torch.randn_like(whole), 0)
    gradients = [torch.autograd.grad((y * upstream).sum(), x)[0] for y in (whole, parts)]
    torch.testing.assert_close(*gradients)


def test_causality(layer):
    state, x = full(layer), steps()
    with torch.no_grad():
        y, _ = layer(x, state)
        changed = torch.cat([x[:, :20], torch.randn_like(x[:, 20:])], dim=1)
        assert torch.equal(layer(changed, state)[0][:, :20], y[:, :20])


def test_masked_steps_and_a_memory_that_is_off_write_nothing(layer):
    state, x = full(layer), steps()
    with torch.no_grad():
        _, after = layer(x, state, mask=torch.zeros(1, TIME, dtype=torch.bool))
        assert torch.equal(table(after), table(state))
        with memory_off(layer):
            assert layer(x, state)[1] is state


def test_streams_do_not_touch(layer):
    state, x = full(layer, batch=2), steps(batch=2)
    with torch.no_grad():
        both, after = layer(x, state)
        for b in range(2):
            alone, final = layer(x[b : b + 1], state.select(torch.tensor([b])))
            torch.testing.assert_close(alone[0], both[b])
            torch.testing.assert_close(table(final)[0], table(after)[b])


def test_a_file_is_as_small_as_what_was_touched(layer, tmp_path):
    with torch.no_grad():
        _, state = layer(steps())
        state.save(tmp_path / "memory", layer)
        again = FastWeights.load(tmp_path / "memory", layer)
        assert (tmp_path / "memory").stat().st_size < 20_000
        x = steps()
        assert torch.equal(layer(x, again)[0], layer(x, state)[0])


def test_training_in_place_walks_nothing_of_size_n(layer, form, backend):
    """No operation, forward or backward, but those that pass the table on as it is."""
    x, seen = steps(), []
    with torch.no_grad():  # a table that grows is sorted where no numba is: let it hold few rows
        state = None if (form, backend) == ("growing", "chunked") else full(layer)
        _, state = layer(x, state, donate=True)
    places = {tensor.data_ptr() for tensor in state.tensors().values()}

    class Walk(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            moved = [t for t in tree_flatten(out)[0] if isinstance(t, torch.Tensor)]
            seen.extend(func for t in moved if t.numel() >= SLOTS and t.data_ptr() not in places)
            return out

    with Walk():
        y, _ = layer(x, state, donate=True)
        y.square().sum().backward()
    layer.zero_grad()
    assert not seen
