"""Muon against its definition, beside AdamW."""

import copy

import pytest
import torch
from torch import distributed, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from sparsemeta.run.muon import MOMENTUM, Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 8), (24, 8), (8, 24), (3, 5, 9)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    torch.manual_seed(0)
    left, _, right = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(0.2, 1, left.shape[-1])
    found = orthogonal(left * values @ right).float()
    assert found.shape == shape
    torch.testing.assert_close(found, left @ right, atol=0.4, rtol=0)
    spread = left.mT @ found @ right.mT  # diagonal where directions stay
    diagonal = spread.diagonal(dim1=-2, dim2=-1)
    assert (diagonal > 0.6).all()
    assert (diagonal < 1.3).all()
    assert (spread - torch.diag_embed(diagonal)).abs().max() < 0.05


def weights(*shapes):
    torch.manual_seed(1)
    return [torch.randn(shape, requires_grad=True) for shape in shapes]


def test_a_step_is_that_of_the_definition_part_by_part():
    (weight,) = weights((12, 4))
    expected, momentum = weight.detach().clone(), torch.zeros(12, 4)
    muon = Muon([{"params": [weight], "parts": 3, "lr": 0.1, "weight_decay": 0.5}], fused=True)
    for _ in range(3):
        gradient = torch.randn(12, 4)
        weight.grad = gradient.clone()
        muon.step()
        momentum = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        ahead = MOMENTUM * momentum + (1 - MOMENTUM) * gradient
        change = torch.cat([orthogonal(part).float() for part in ahead.chunk(3)])
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * change
        torch.testing.assert_close(weight.detach(), expected, atol=2e-3, rtol=0)


def test_a_tall_matrix_takes_longer_steps_and_none_without_gradient():
    tall, still = weights((16, 4), (4, 4))
    before, kept = tall.detach().clone(), still.detach().clone()
    muon = Muon([{"params": [tall, still], "parts": 1, "lr": 0.1, "weight_decay": 0.0}])
    tall.grad = torch.randn(16, 4)
    muon.step()
    assert torch.equal(still, kept)
    assert still not in muon.state
    lengths = torch.linalg.svdvals(before - tall.detach())
    assert lengths.mean() == pytest.approx(0.2, rel=0.3)


def test_other_groups_are_those_of_adamw():
    ours, matrix = weights((5, 5), (4, 4))
    theirs = ours.detach().clone().requires_grad_()
    options = {"lr": 0.1, "weight_decay": 0.1}
    muon = Muon([{"params": [ours]}, {"params": [matrix], "parts": 1}], **options)
    adam = torch.optim.AdamW([theirs], **options)
    for _ in range(3):
        gradient = torch.randn(5, 5)
        ours.grad, theirs.grad, matrix.grad = gradient, gradient.clone(), torch.randn(4, 4)
        muon.step()
        adam.step()
    assert torch.equal(ours, theirs)


@pytest.fixture
def alone(tmp_path):
    """A group of one process."""
    distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    yield init_device_mesh("cpu", (1,))
    distributed.destroy_process_group()


def test_weights_that_are_shared_among_processes_take_the_same_steps(alone):
    torch.manual_seed(2)
    whole = nn.Linear(6, 9)
    shared = copy.deepcopy(whole)
    fully_shard(shared, mesh=alone)
    for model in (whole, shared):
        muon = Muon([{"params": [model.weight], "parts": 3}, {"params": [model.bias]}], lr=0.1)
        for scale in (1.0, 2.0):
            (model(torch.eye(6) * scale).square() * torch.arange(9)).sum().backward()
            muon.step()
            muon.zero_grad()
    assert torch.equal(shared.weight.full_tensor(), whole.weight)
