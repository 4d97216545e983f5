import dataclasses
import sys

import pytest
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from sparsemeta.errors import CheckpointError, ConfigError, MissingExtra
from sparsemeta.run import Engine, is_main


@dataclasses.dataclass(frozen=True)
class State:
    total: torch.Tensor
    count: torch.Tensor


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x, state):
        y = self.layer(x)
        return y, State(state.total + y.sum().double(), state.count + 1)


@pytest.fixture
def state():
    return State(torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64))


def engine(precision="32-true"):
    return Engine(precision=precision)


def set_up(model, precision="32-true"):
    """An engine, and the forward pass of a model in it."""
    under = engine(precision)
    forward = under.setup(model)
    under.setup_optimizer(torch.optim.SGD(model.parameters(), lr=1.0))
    return under, forward


def test_precision_decides_the_forward_pass_and_leaves_the_state_alone(state):
    for precision, expected in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        model = Recurrent()
        _, forward = set_up(model, precision)
        y, after = forward(torch.ones(1, 3), state)
        assert y.dtype == expected
        assert model.layer.weight.dtype == torch.float32
        assert after.total.dtype == torch.float64
        assert after.count.dtype == torch.int64
        assert after.count == 1


def test_step_uses_the_clipped_gradient_and_forgets_it(state):
    model = Recurrent()
    under, forward = set_up(model)
    before = model.layer.bias.detach().clone()
    y, _ = forward(torch.zeros(1, 3), state)
    under.backward((y * torch.tensor([3.0, 4.0])).sum())
    assert under.clip_gradients(1.0) == pytest.approx(5.0)
    under.step()
    moved = (before - model.layer.bias).tolist()
    assert moved == pytest.approx([0.6, 0.8], abs=1e-5)
    assert model.layer.bias.grad is None


def test_the_seed_decides_the_random_numbers():
    draws = []
    for seed in (1, 1, 2):
        Engine(precision="32-true", seed=seed)
        draws.append(torch.rand(()).item())
    assert draws[0] == draws[1] != draws[2]


def test_is_main_and_silent(capfd):
    under = engine("bf16-mixed")
    assert is_main()
    assert (under.rank, under.world, under.strategy) == (0, 1, None)
    assert under.device.type in ("cpu", "cuda")
    assert capfd.readouterr() == ("", "")


def test_one_process_is_all_of_them():
    under = engine()
    assert under.any(True)
    assert not under.any(False)
    assert under.gather("mine") == ["mine"]
    assert under.mean(torch.tensor(2.0)) == 2.0
    assert under.once(lambda: 3) == 3
    with pytest.raises(CheckpointError, match="its own"):
        under.once(lambda: (_ for _ in ()).throw(CheckpointError("its own")))


def test_devices_that_are_not_there_are_a_mistake(monkeypatch):
    def fabric(**_):
        raise MisconfigurationException("You requested gpu: [0, 1]\n But your machine has: [0]")

    monkeypatch.setattr("lightning_fabric.Fabric", fabric)
    with pytest.raises(ConfigError, match=r"training\.devices = 2 .*\[0, 1\] But your machine"):
        Engine(precision="32-true", devices=2)


def test_without_fabric_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtra, match=r"sparsemeta\[lm\]"):
        engine()
