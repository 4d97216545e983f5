"""The state as a value, and invariant 6: saved and loaded bit for bit, or refused."""

import json
import os
import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sparsemeta.errors import StateError
from sparsemeta.fast_weights import FastWeights, Origin, fingerprint, read_origin
from sparsemeta.fast_weights.file import digest
from sparsemeta.nn import MemoryConfig, SparseMemory

MUTATIONS = int(os.environ.get("SPARSEMETA_MUTATIONS", "300"))
CONFIG = MemoryConfig(slots=50, active=3, heads=2, key_width=8, value_width=6)


@pytest.fixture(params=["dense", "growing"])
def layer(request):
    return SparseMemory(8, replace(CONFIG, capacity=None if request.param == "dense" else 40))


@pytest.fixture
def state(layer):
    return layer(torch.randn(3, 7, 8))[1].detach()


def equal(a: FastWeights, b: FastWeights) -> bool:
    """Whether two states hold the same, whatever rows of their tables it is in."""

    def held(layer):
        return (*layer.touched(), layer.last, layer.steps)

    return a.layers.keys() == b.layers.keys() and all(
        layer.shape == b.layers[name].shape
        and (layer.slot is None) == (b.layers[name].slot is None)
        and all(
            torch.equal(x, y) and x.dtype == y.dtype
            for x, y in zip(held(layer), held(b.layers[name]), strict=True)
        )
        for name, layer in a.layers.items()
    )


def test_it_is_immutable(state):
    with pytest.raises(AttributeError):
        state.layers = {}
    with pytest.raises(TypeError):
        state.layers["memory"] = None


def test_clone_shares_nothing(state):
    copy = state.clone()
    assert equal(copy, state)
    for name, tensor in copy.tensors().items():
        assert tensor.data_ptr() != state.tensors()[name].data_ptr()


def test_detach_ends_the_graph(layer):
    _, state = layer(torch.randn(1, 5, 8))
    assert state.tensors()["memory.table"].requires_grad
    assert not state.detach().tensors()["memory.table"].requires_grad


def test_select_and_concat_are_inverse(state):
    parts = [state.select([0]), state.select(torch.tensor([False, True, True]))]
    assert [part.batch for part in parts] == [1, 2]
    assert equal(FastWeights.concat(parts), state)


def test_concat_refuses_another_shape(state):
    other = SparseMemory(8, MemoryConfig(slots=9, active=3, heads=2, key_width=8, value_width=6))
    with pytest.raises(StateError, match="one model"):
        FastWeights.concat([state, other(torch.randn(1, 2, 8))[1]])


def test_reset_forgets_the_chosen_streams(state):
    after = state.reset(torch.tensor([True, False, False]))
    assert equal(after.select([1, 2]), state.select([1, 2]))
    for empty in (after.select([0]), state.reset()):
        layer = empty.layers["memory"]
        assert not any(part.any() for part in (layer.table, layer.last, layer.steps))
        assert layer.slot is None or (layer.slot == 50).all()


def test_join_and_child_are_inverse(state):
    joined = FastWeights.join({"1": state, "12": state.reset()})
    assert equal(joined.child("1"), state)
    assert equal(joined.child("12"), state.reset())


def test_size_and_stats(state):
    table = 50 * 6 * 4 if state.layers["memory"].slot is None else 41 * (6 * 4 + 8) + 128 * 4
    assert state.nbytes == 3 * (2 * table + 8 * 4 + 8)
    stats = state.stats()["memory"]
    assert stats["steps"] == 7
    # Six writes (the first step has nothing to key one by) of three slots each at the most.
    assert 0 < stats["used"] <= 6 * 3 / 50
    assert 0 < stats["mean_norm"] <= stats["max_norm"]


def test_what_changed_since(state):
    assert state.diff(state) == {"memory": {"added": 0, "removed": 0, "changed": 0, "norm": 0}}
    index, rows = state.layers["memory"].touched()
    norm = rows.norm().item()
    appeared = state.diff(state.reset())["memory"]
    assert appeared == {"added": len(index), "removed": 0, "changed": 0, "norm": norm}
    vanished = state.reset().diff(state)["memory"]
    assert vanished == {"added": 0, "removed": len(index), "changed": 0, "norm": norm}
    other = state.clone()
    table = other.layers["memory"].table
    one = table.ne(0).any(-1).nonzero()[0].tolist()
    table[tuple(one)] += torch.tensor([3.0, 4.0, 0, 0, 0, 0])
    changed = other.diff(state)["memory"]
    assert changed == {"added": 0, "removed": 0, "changed": 1, "norm": pytest.approx(5)}
    with pytest.raises(StateError, match="not two states of one model"):
        state.diff(state.select([0]))


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
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    header["layers"] = header["layers"].replace("50", "5")
    save_file(tensors, path, metadata=header)
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, layer)


@pytest.mark.parametrize("change", [lambda i: i.flip(0), lambda i: i * 0, lambda i: i - i[1]])
def test_a_file_whose_rows_are_out_of_place_is_refused(layer, state, tmp_path, change):
    path = tmp_path / "memory"
    state.save(path, layer)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    tensors["memory.table.index"] = change(tensors["memory.table.index"]).contiguous()
    header["digest"] = digest(header, tensors)  # by whoever made it, on purpose
    save_file(tensors, path, metadata=header)
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, layer)


@pytest.mark.parametrize("claim", [[3, 2, 2**40, 6], [2**40, 2, 50, 6], [3, 2**40, 50, 6], [3, 2]])
def test_a_claim_that_cannot_be_is_refused_before_anything_is_read(
    layer, state, tmp_path, monkeypatch, claim
):
    path = tmp_path / "memory"
    state.save(path, layer)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    header["layers"] = json.dumps({"memory": ["LayerWeights", *claim]})
    header["digest"] = digest(header, tensors)
    save_file(tensors, path, metadata=header)
    monkeypatch.setattr("sparsemeta.fast_weights.file.digest", None)  # it reads all tensors
    with pytest.raises(StateError, match="damaged"):
        FastWeights.load(path, layer)


def mutations(data: bytes, count: int) -> Iterator[bytes]:
    """Copies of a file, each changed in one place: a bit, the length, a byte of the header."""
    draw = random.Random(0)
    header = 8 + int.from_bytes(data[:8], "little")
    for i in range(count):
        changed, at = bytearray(data), draw.randrange(len(data))
        match i % 5:
            case 0:
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                del changed[at:]
            case 2:
                changed[at:at] = draw.randbytes(draw.randrange(1, 20))
            case 3:
                changed[draw.randrange(8, header)] = draw.choice(b'0123456789 "{}[]:,azI64F32')
            case 4:
                here = draw.randrange(header, len(data) - 4)
                changed[here : here + 4] = changed[at : at + 4].ljust(4, b"0")
        yield bytes(changed)


def test_no_damaged_file_is_read_as_something_else(layer, state, tmp_path):
    path = tmp_path / "memory"
    state.save(path, layer)
    refused = 0
    for changed in mutations(path.read_bytes(), MUTATIONS):
        path.write_bytes(changed)
        try:
            loaded = FastWeights.load(path, layer)
        except StateError:
            refused += 1
        else:
            assert equal(loaded, state)
    assert refused > 0.9 * MUTATIONS  # some change nothing: a byte is put where the same one was


def test_a_failed_save_leaves_the_old_file(layer, state, tmp_path, monkeypatch):
    path = tmp_path / "memory"
    state.save(path, layer)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr("sparsemeta.fast_weights.file.save_file", full)
    with pytest.raises(StateError, match="No space left on device"):
        state.reset().save(path, layer)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def held(state):
    """A state's table as if it were dense, (B, H, N, V)."""
    layer = state.layers["memory"]
    index, rows = layer.touched()
    table = torch.zeros(layer.shape)
    table.flatten(0, 2)[index] = rows
    return table


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


def test_some_layers_are_reset(state):
    both = FastWeights.join({"1": state, "2": state})
    after = both.reset(layers=["2.memory"])
    assert equal(after.child("1"), state)
    assert equal(after.child("2"), state.reset())
    with pytest.raises(StateError, match=r"no layer is called 3\. The layers are 1\.memory, 2\."):
        both.reset(layers=["3"])


def test_merged_row_by_row(layer, state):
    one = layer(torch.randn(3, 4, 8), state)[1].detach()
    other = layer(torch.randn(3, 2, 8), state)[1].detach()
    merged = one.merge(other, state)
    a, b, start = held(one), held(other), held(state)
    only_a, only_b = (b == start).all(-1), (a == start).all(-1)
    both = ~only_a & ~only_b
    assert only_a.any()
    assert only_b.any()
    assert both.any()
    found = held(merged)
    assert torch.equal(found[only_a], a[only_a])
    assert torch.equal(found[only_b], b[only_b])
    torch.testing.assert_close(found[both], (4 * a[both] + 2 * b[both]) / 6)
    assert merged.layers["memory"].steps.tolist() == [7 + 4 + 2] * 3
    assert torch.equal(merged.layers["memory"].last, other.layers["memory"].last)
    layer(torch.randn(3, 2, 8), merged)  # in the form that the layer wants


def test_merged_with_little_or_nothing(layer, state):
    assert equal(state.merge(state.reset()), state)
    assert equal(state.reset().merge(state), state)
    assert equal(state.merge(state, state), state)
    twice = state.merge(state)
    assert torch.equal(held(twice), held(state))
    assert (twice.layers["memory"].steps == 2 * state.layers["memory"].steps).all()


def test_what_cannot_be_merged(layer, state):
    with pytest.raises(StateError, match="not two states of one model"):
        state.merge(state.select([0]))
    later = layer(torch.randn(3, 2, 8), state)[1].detach()
    with pytest.raises(StateError, match="read less than the base"):
        later.merge(state, later)
