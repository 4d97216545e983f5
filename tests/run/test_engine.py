import dataclasses
import sys

import pytest
import torch
from torch import nn

from sparsemeta.errors import CheckpointError, ConfigError
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


def test_precision_decides_the_forward_pass_and_leaves_the_state_alone(state):
    for precision, expected in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        model = Recurrent()
        forward = Engine(precision=precision).setup(model)
        y, after = forward(torch.ones(1, 3), state)
        assert y.dtype == expected
        assert model.layer.weight.dtype == torch.float32
        assert after.total.dtype == torch.float64
        assert after.count.dtype == torch.int64
        assert after.count == 1


def test_the_seed_decides_the_random_numbers():
    draws = []
    for seed in (1, 1, 2):
        Engine(precision="32-true", seed=seed)
        draws.append(torch.rand(()).item())
    assert draws[0] == draws[1] != draws[2]


def test_is_main_and_silent(capfd):
    under = Engine(precision="bf16-mixed")
    assert is_main()
    assert (under.rank, under.world, under.strategy) == (0, 1, None)
    assert under.device.type in ("cpu", "cuda")
    assert capfd.readouterr() == ("", "")


def test_one_process_is_all_of_them():
    under = Engine()
    assert under.any(True)
    assert not under.any(False)
    assert under.gather("mine") == ["mine"]
    assert under.mean(torch.tensor(2.0)) == 2.0
    assert under.once(lambda: 3) == 3
    with pytest.raises(CheckpointError, match="its own"):
        under.once(lambda: (_ for _ in ()).throw(CheckpointError("its own")))


def test_devices_that_are_not_there_are_a_mistake(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=r"training\.devices = 2 .* has 1 of kind cuda"):
        Engine(devices=2)


def test_an_interactive_session_cannot_be_started_again(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    monkeypatch.setattr(sys, "ps1", ">>>", raising=False)
    with pytest.raises(ConfigError, match="which an interactive session cannot"):
        Engine(devices=2)
