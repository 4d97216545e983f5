"""An optimizer's statistics as named tensors, and back."""

import pytest
import torch
from torch import nn

from sparsemeta.errors import CheckpointError
from sparsemeta.run.learner import optimizer_tensors, restore_optimizer


class Partly(nn.Module):
    """A network of which a part has had no gradient yet."""

    def __init__(self, width=3):
        super().__init__()
        self.first, self.later = nn.Linear(width, 2), nn.Linear(2, 2)
        self.complete = False

    def forward(self, x):
        x = self.first(x)
        return self.later(x) if self.complete else x


def adam(width=3):
    model = Partly(width)
    groups = [{"params": [p]} for p in reversed(list(model.parameters()))]
    return model, torch.optim.AdamW(groups, lr=0.1)


def learn(model, optimizer):
    model(torch.ones(1, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_optimizer_goes_on_exactly_from_its_tensors():
    (model, optimizer), (other, restored) = adam(), adam()
    for _ in range(2):
        learn(model, optimizer)
    other.load_state_dict(model.state_dict())
    tensors = {name: value.clone() for name, value in optimizer_tensors(model, optimizer).items()}
    assert {name.rpartition(".")[0] for name in tensors} == {"first.weight", "first.bias"}
    restore_optimizer(other, restored, tensors)
    for complete in (False, True, True):
        for each, its in ((model, optimizer), (other, restored)):
            each.complete = complete
            learn(each, its)
    for name, value in model.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def test_optimizer_refuses_the_tensors_of_another_model():
    model, optimizer = adam()
    learn(model, optimizer)
    tensors = optimizer_tensors(model, optimizer)
    wider, its = adam(width=4)
    with pytest.raises(CheckpointError, match=r"first\.weight\.\w+ has .*\(2, 3\).*needs \(2, 4\)"):
        restore_optimizer(wider, its, tensors)
    with pytest.raises(CheckpointError, match="this model has no first.weight"):
        restore_optimizer(nn.Linear(3, 2), its, tensors)
