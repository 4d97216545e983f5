"""What a learner does for its family: the step of the optimizer, and its statistics by name."""

import math

import pytest
import torch
from torch import nn

from sparsemeta.errors import CheckpointError, TrainingError
from sparsemeta.run import Engine, Learner, TrainingConfig
from sparsemeta.run.checkpoints import optimizer_tensors, restore_optimizer


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
    with pytest.raises(CheckpointError, match=r"this model has no first\.bias"):
        restore_optimizer(nn.Linear(3, 2), its, tensors)


class Linear(Learner[nn.Linear, TrainingConfig]):
    """Learns nothing in particular."""

    def __init__(self):
        config = TrainingConfig(learning_rate=1.0, warmup=0)
        super().__init__(
            nn.Linear(3, 2), lambda m: torch.optim.SGD(m.parameters()), config, Engine()
        )

    def take_step(self):
        return {}

    def status(self, record):
        return ""


def test_descent_uses_the_clipped_gradient_and_forgets_it():
    learner = Linear()
    before = learner.model.bias.detach().clone()
    assert learner.set_rate() == 1.0
    (learner.forward(torch.zeros(1, 3)) * torch.tensor([3.0, 4.0])).sum().backward()
    assert learner.descend(0.5) == pytest.approx(5.0)
    assert (before - learner.model.bias).tolist() == pytest.approx([0.6, 0.8], abs=1e-5)
    assert learner.model.bias.grad is None


@pytest.mark.parametrize("broken", ["loss", "gradient"])
def test_what_is_not_finite_changes_no_weight(broken):
    learner = Linear()
    before = learner.model.bias.detach().clone()
    learner.set_rate()
    scale = math.nan if broken == "gradient" else 1.0
    (learner.forward(torch.zeros(1, 3)) * scale).sum().backward()
    with pytest.raises(TrainingError, match=r"step 1: .*Try --training.learning-rate 0\.5"):
        learner.descend(math.nan if broken == "loss" else 0.5)
    assert torch.equal(learner.model.bias, before)
