"""Checkpoints: what comes back, and which are kept."""

import pytest
import torch

from sparsemeta.errors import CheckpointError
from sparsemeta.run import Checkpoint, checkpoints, load_model, newest, prune, step_folders


def test_checkpoints_are_ordered_by_step_and_pruned(tmp_path):
    assert newest(tmp_path / "absent") is None
    for name in ("step-999999", "step-1000000", "step-000002", "step-x", ".step-000003.0-x.part"):
        (tmp_path / name).mkdir()
    assert newest(tmp_path) == tmp_path / "step-1000000"
    prune(tmp_path, keep=2)
    assert [p.name for p in step_folders(tmp_path)] == ["step-999999", "step-1000000"]
    assert not (tmp_path / ".step-000003.0-x.part").exists()
    prune(tmp_path, keep=3)
    assert len(step_folders(tmp_path)) == 2
    prune(tmp_path, keep=0)
    assert newest(tmp_path) is None


class Tied(torch.nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.table, self.head = torch.nn.Embedding(5, width), torch.nn.Linear(width, 5, bias=False)
        self.head.weight = self.table.weight
        self.norm = torch.nn.BatchNorm1d(width)


def written(folder, model, **tensors):
    record = {"step": 15, "recipe": {"name": "x"}, "facts": {"position": 64}}
    weights = checkpoints.weights_of(model)
    return checkpoints.write(
        folder, record, weights, tensors, lambda aside: (aside / "more").write_text("more")
    )


def test_everything_reads_back_bit_for_bit(tmp_path):
    tensors = {
        "optimizer": {"weight.exp_avg": torch.randn(3, 2)},
        "own": {"window.0.k": torch.randn(2, 4).bfloat16().t(), "steps": torch.arange(2)},
        "random": {"generator": torch.get_rng_state()},
    }
    model = Tied()
    folder = written(tmp_path / "step-000015", model, **tensors)
    found = Checkpoint.read(folder)
    for group, named in tensors.items():
        assert found.tensors(group).keys() == named.keys()
        for name, value in named.items():
            assert found.tensors(group)[name].dtype == value.dtype
            assert torch.equal(found.tensors(group)[name], value)
    assert found.tensors("none") == {}
    assert (found.step, found.facts) == (15, {"position": 64})
    assert (folder / "more").read_text() == "more"
    again = load_model(found.weights, Tied)
    assert again.head.weight is again.table.weight
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)


def test_a_model_of_other_shapes_is_never_built(tmp_path):
    file = Checkpoint.read(written(tmp_path / "step-000001", Tied())).weights

    def build():
        assert torch.get_default_device().type == "meta"
        return Tied(width=4)

    with pytest.raises(CheckpointError, match=r"shape \(3,\), but the model needs \(4,\)"):
        load_model(file, build)
