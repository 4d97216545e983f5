import pytest
import torch
from torch import nn

from sparsemeta.errors import CheckpointError
from sparsemeta.run import optimizer_tensors, restore_optimizer


def adam(width=3):
    model = nn.Linear(width, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def test_optimizer_goes_on_exactly_from_its_tensors():
    model, optimizer = adam()
    other, restored = adam()
    for _ in range(2):
        optimizer.zero_grad()
        model(torch.ones(1, 3)).square().sum().backward()
        optimizer.step()
    other.load_state_dict(model.state_dict())
    copies = {name: value.clone() for name, value in optimizer_tensors(optimizer).items()}
    restore_optimizer(restored, copies)
    for each, its in ((model, optimizer), (other, restored)):
        its.zero_grad()
        each(torch.ones(1, 3)).square().sum().backward()
        its.step()
    assert torch.equal(model.weight, other.weight)


def test_optimizer_refuses_the_tensors_of_another_model():
    model, optimizer = adam()
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    with pytest.raises(CheckpointError, match=r"0\.exp_avg has shape \(2, 3\).*needs \(2, 4\)"):
        restore_optimizer(adam(width=4)[1], optimizer_tensors(optimizer))
