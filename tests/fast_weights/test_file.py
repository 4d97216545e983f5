"""Invariant 6: a state is saved and loaded bit for bit, or refused."""

import pytest
import torch
from safetensors.torch import save_file

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, Origin, fingerprint, read_origin
from sparsemeta.nn import MemoryConfig, SparseMemory
from tests.fast_weights.states import equal, held, refuses_damage, rewrite


def test_saved_and_loaded_bit_for_bit(layer, state, tmp_path):
    path = tmp_path / "memory.safetensors"
    state.save(path, layer)
    loaded = FastWeights.load(path, layer)
    assert equal(loaded, state)
    x = torch.randn(3, 5, 8)
    y, after = layer(x, state)
    y_loaded, after_loaded = layer(x, loaded)
    assert torch.equal(y, y_loaded)
    assert equal(after.detach(), after_loaded.detach())
    assert [p.name for p in tmp_path.iterdir()] == ["memory.safetensors"]


def test_only_touched_rows_are_stored(tmp_path):
    sizes = []
    for slots in (1_000, 100_000):
        wide = MemoryConfig(slots=slots, active=3, heads=2, key_width=8, value_width=6)
        layer = SparseMemory(8, wide)
        _, state = layer(torch.randn(1, 20, 8))
        state.save(tmp_path / "memory", layer)
        sizes.append((tmp_path / "memory").stat().st_size)
    assert sizes[1] < 1.2 * sizes[0]


def test_a_memory_of_another_model_is_refused(layer, state, tmp_path):
    state.save(tmp_path / "memory", layer)
    with pytest.raises(StateError, match="belongs to another model"):
        FastWeights.load(tmp_path / "memory", SparseMemory(8, layer.config))


def test_a_damaged_file_is_refused(layer, state, tmp_path):
    path = tmp_path / "memory"
    with pytest.raises(StateError, match="no such memory file"):
        FastWeights.load(path, layer)
    state.save(path, layer)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, layer)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(StateError, match="not a memory of this version"):
        FastWeights.load(path, layer)


def test_nan_in_a_file_is_refused(layer, state, tmp_path):
    path = tmp_path / "memory"
    state.layers["memory"].table[state.layers["memory"].table != 0] = float("nan")
    state.save(path, layer)
    with pytest.raises(StateError, match="NaN"):
        FastWeights.load(path, layer)


def test_a_file_of_another_shape_is_refused(layer, state, tmp_path):
    path = tmp_path / "memory"
    state.save(path, layer)
    rewrite(path, layers=lambda _: {"memory": ["LayerWeights", 3, 2, 5, 6]})
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, layer)


@pytest.mark.parametrize("change", [lambda i: i.flip(0), lambda i: i * 0, lambda i: i - i[1]])
def test_a_file_whose_rows_are_out_of_place_is_refused(layer, state, tmp_path, change):
    path = tmp_path / "memory"
    state.save(path, layer)
    rewrite(path, "memory.table.index", change)
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, layer)


@pytest.mark.parametrize("claim", [[3, 2, 2**40, 6], [2**40, 2, 50, 6], [3, 2**40, 50, 6], [3, 2]])
def test_a_claim_that_cannot_be_is_refused_before_anything_is_read(
    layer, state, tmp_path, monkeypatch, claim
):
    path = tmp_path / "memory"
    state.save(path, layer)
    rewrite(path, layers=lambda _: {"memory": ["LayerWeights", *claim]})
    monkeypatch.setattr("sparsemeta.fast_weights.file.digest", None)  # it reads all tensors
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, layer)


def test_no_damaged_file_is_read_as_something_else(layer, state, tmp_path):
    path = tmp_path / "memory"
    state.save(path, layer)
    refuses_damage(path, layer, state)


def test_a_failed_save_leaves_the_old_file(layer, state, tmp_path, monkeypatch):
    path = tmp_path / "memory"
    state.save(path, layer)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("sparsemeta.fast_weights.file.encode", full)
    with pytest.raises(StateError, match="No space left on device"):
        state.reset().save(path, layer)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_file_is_read_without_its_model(layer, state, tmp_path):
    path = tmp_path / "memory"
    state.save(path, layer)
    loaded = FastWeights.load(path, None)
    assert torch.equal(held(loaded), held(state))
    assert state.diff(loaded) == {"memory": {"added": 0, "removed": 0, "changed": 0, "norm": 0}}
    assert read_origin(path) == Origin(fingerprint(layer), texts=0, bytes=0)
    again = tmp_path / "again"
    loaded.save(again, Origin(fingerprint(layer), texts=2, bytes=30))
    assert equal(FastWeights.load(again, layer), state)
    assert read_origin(again) == (fingerprint(layer), 2, 30)
