"""An environment is one module and a line of the registry: a toy has all that the others have."""

import importlib
import subprocess
import sys
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import torch

from sparsemeta.config import Count, Settings
from sparsemeta.errors import ConfigError
from sparsemeta.rl import evaluation
from sparsemeta.rl.agent import ActorCritic
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import (
    REGISTRY,
    Agent,
    Curve,
    Drawing,
    EnvironmentSpec,
    Turn,
    find_spec,
)
from sparsemeta.rl.evaluation import evaluate
from sparsemeta.rl.watching import watch
from tests.rl.small import TINY

ID = "sparsemeta/Toy-v0"


class ToyState(NamedTuple):
    step: torch.Tensor


class ToyInfo(NamedTuple):
    lit: torch.Tensor


@dataclass(frozen=True)
class Toy(Settings, section="toy"):
    """Pays for the second action."""

    length: Count = 4
    actions = 2
    width = 1

    def start(self, batch, generator):
        return ToyState(torch.zeros(batch, dtype=torch.int64))

    def observe(self, state):
        return state.step[:, None] / self.length

    def advance(self, state, action, generator):
        after = ToyState(state.step + 1)
        return Turn(after, action.float(), after.step == self.length, ToyInfo(action == 1))


class Always(Agent):
    """Takes the second action."""

    def reset(self, environment, generator):
        self.batch = environment.batch

    def act(self, observation):
        return torch.ones(self.batch, dtype=torch.int64)


class ToyDrawing(Drawing):
    modes = ("rgb_array", "ansi")

    def text(self, state):
        return f"lamp {int(state.step[0])}\n"

    def picture(self, state, outcome=None):
        return np.full((2, 3, 3), int(state.step[0]), np.uint8)


TOY = EnvironmentSpec(
    Toy,
    rivals={"always": Always},
    measures=lambda record: {"lit": record.info.lit},
    curve=Curve("light by half", "half", "share", lambda r, _: r.reward.mean(1)[:2], ("a", "b")),
    drawing=ToyDrawing(),
)


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(REGISTRY, ID, f"{__name__}:TOY")
    torch.manual_seed(0)
    return ActorCritic(1, 2, TINY), EnvironmentConfig(ID)


def test_it_is_evaluated_and_plotted(toy, tmp_path):
    found = evaluate(*toy, episodes=3)
    assert list(found.players) == ["agent", "always", "uniform"]
    assert found.players["always"].measures == {"reward": (4.0, 0.0), "lit": (4.0, 0.0)}
    assert found.players["always"].curve == [1.0, 1.0]
    assert evaluation.to_dict(found)["curve"] == "light by half"
    assert [column.header for column in evaluation.table(found).columns][-1] == "light by half"
    evaluation.plot(found, tmp_path / "toy.svg")
    drawn = (tmp_path / "toy.svg").read_text()
    for words in ("always", "half", "share"):
        assert f"<!-- {words} -->" in drawn


def test_it_is_watched(toy):
    moments = list(watch(*toy, pictures=True))
    assert [np.asarray(moment.picture).max() for moment in moments] == [0, 1, 2, 3]
    assert moments[1].text == "step 2\nlamp 1\nobservation: 0.25   action: 0   reward: 0\n"


@pytest.mark.usefixtures("toy")
def test_it_is_registered_with_gymnasium():
    gymnasium = pytest.importorskip("gymnasium")
    importlib.import_module("sparsemeta.rl.gym").register()
    try:
        env = gymnasium.make(ID, render_mode="ansi")
        env.reset(seed=0)
        assert env.render() == "lamp 0\n"
        assert gymnasium.make_vec(ID, num_envs=2).reset()[0].tolist() == [[0.0], [0.0]]
        with pytest.raises(ConfigError, match="render_mode = 'human': Toy has rgb_array, ansi"):
            gymnasium.make(ID, render_mode="human")
    finally:
        del gymnasium.registry[ID]


@pytest.mark.parametrize("command", ["train", "evaluate", "watch"])
def test_help_names_every_environment(command):
    code = (
        f"from sparsemeta.rl.environments import registry\nregistry.REGISTRY[{ID!r}] = 'toy:TOY'\n"
        f"from sparsemeta.cli import main\nmain(['rl', '{command}', '--help'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    for id in (*REGISTRY, ID):
        assert id in done.stdout


def test_what_nothing_is_known_of():
    spec = find_spec("CartPole-v1")
    assert (spec.rules, spec.rivals, spec.curve.title) == (None, {}, "reward by step")
