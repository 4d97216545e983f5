"""Environments of others: their spaces, seeds, limits and faults."""

import builtins
import importlib
import sys
import types

import numpy as np
import pytest
import torch

from sparsemeta.errors import ConfigError, MissingExtra, StreamError
from sparsemeta.rl.agent import make
from sparsemeta.rl.config import AgentConfig, EnvironmentConfig
from sparsemeta.rl.environments import Uniform, play
from tests.rl.played import seeded

gymnasium = pytest.importorskip("gymnasium")
from gymnasium import spaces  # noqa: E402

GymVectorEnv = importlib.import_module("sparsemeta.rl.gym").GymVectorEnv


class Counter(gymnasium.Env):
    """Shows the steps done; ends after `over` of them; pays what `pay` says."""

    def __init__(self, over=3, pay=1.0, sees=None, acts=None, shows=None):
        self.observation_space = sees or spaces.Box(0, 9, (2, 1))
        self.action_space = acts or spaces.Discrete(2, start=5)
        self.over, self.pay, self.shows, self.count = over, pay, shows, 0

    def seen(self):
        return np.full((2, 1), self.count, np.float32) if self.shows is None else self.shows

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.seen(), {}

    def step(self, action):
        assert self.action_space.contains(action)
        self.count += 1
        return self.seen(), self.pay, self.count == self.over, False, {}


gymnasium.register("tests/Counter-v0", entry_point=Counter, disable_env_checker=True)


def counter(batch=2, **settings):
    return GymVectorEnv("tests/Counter-v0", batch, settings)


def zeros(batch=2):
    return torch.zeros(batch, dtype=torch.int64)


def test_cart_pole():
    env = make(EnvironmentConfig("CartPole-v1", observe=(0, 2)), 3)
    assert (env.batch, env.width, env.actions, env.length) == (3, 2, 2, 500)
    first = env.reset(seeded(1))
    assert first.shape == (3, 2)
    assert first.dtype == torch.float32
    assert torch.equal(first, env.reset(seeded(1)))
    assert not torch.equal(first, env.reset(seeded(2)))
    assert len(first.unique(dim=0)) == 3  # each has a seed of its own
    games = [play(env, Uniform(), seeded(3), 30) for _ in range(2)]
    assert torch.equal(games[0].reward, games[1].reward)
    assert torch.equal(games[0].done, games[1].done)
    assert games[0].done.any()


def test_the_end_of_an_episode():
    env = counter(over=2)
    assert torch.equal(env.reset(seeded()), torch.zeros(2, 2))
    step = env.step(zeros())
    assert not step.done.any()
    assert torch.equal(step.observation, torch.ones(2, 2))
    assert torch.equal(step.final, step.observation)
    step = env.step(torch.ones(2, dtype=torch.int64))
    assert step.done.all()
    assert not step.truncated.any()
    assert torch.equal(step.observation, torch.zeros(2, 2))  # the next episode's
    assert torch.equal(step.final, torch.full((2, 2), 2.0))
    assert step.info == ()


@pytest.mark.parametrize(("limit", "truncated"), [(2, True), (3, False), (5, False)])
def test_a_time_limit_is_no_end(limit, truncated):
    env = counter(over=3, max_episode_steps=limit)  # at 3 it is over and the time is up
    assert env.length == limit
    env.reset(seeded())
    for _ in range(min(limit, 3)):
        step = env.step(zeros())
    assert step.done.all()
    assert step.truncated.tolist() == [truncated] * 2
    assert step.final[0].tolist() == [min(limit, 3)] * 2


def test_without_a_limit():
    assert counter().length == 1024


@pytest.mark.parametrize(
    ("space", "shown", "flat"),
    [
        (spaces.Discrete(3, start=1), 2, [0, 1, 0]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (spaces.Tuple([spaces.Discrete(2), spaces.Box(0, 1, (2,))]), (1, [0.5, 0]), [0, 1, 0.5, 0]),
        (spaces.Dict(b=spaces.Discrete(2), a=spaces.MultiBinary(1)), {"a": [1], "b": 0}, [1, 0, 1]),
        (spaces.Box(0, 255, (1, 2), np.uint8), np.array([[7, 255]], np.uint8), [7, 255]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_observations_of_many_kinds(space, shown, flat):
    env = counter(over=1, sees=space, shows=shown)
    assert env.reset(seeded()).tolist() == [flat] * 2
    step = env.step(zeros())
    assert step.observation.tolist() == step.final.tolist() == [flat] * 2
    assert env.width == len(flat)


def test_toy_text():
    env = GymVectorEnv("FrozenLake-v1", 2, {"map_name": "4x4", "is_slippery": False})
    assert (env.width, env.actions, env.length) == (16, 4, 100)
    assert env.reset(seeded())[:, 0].tolist() == [1, 1]
    assert env.step(torch.tensor([1, 2])).observation.argmax(1).tolist() == [4, 1]


@pytest.mark.parametrize("name", ["RepeatPreviousEasy", "ConcentrationEasy"])
def test_popgym(name):
    pytest.importorskip("popgym")
    env = GymVectorEnv(f"popgym:popgym-{name}-v0", 2, {})
    record = play(env, Uniform(), seeded(), 120)
    assert record.done.any()
    assert record.reward.isfinite().all()


@pytest.mark.parametrize(
    ("id", "settings", "words"),
    [
        ("Nowhere-v0", {}, r"'Nowhere-v0': .*doesn't exist.*as package:id"),
        ("CartPole-v9", {}, "'CartPole-v9': .*as package:id"),
        ("no_such:Thing-v0", {}, "No module named 'no_such'.*as package:id"),
        ("CartPole-v1", {"gravity": 9.8}, "with environment.settings gravity=9.8: .*unexpected"),
        ("not an id", {}, "'not an id' cannot be made with environment.settings none: Malformed"),
        ("tests/Counter-v0", {"acts": spaces.Box(0, 1)}, r"actions Box.*Supported are Discrete"),
        (
            "tests/Counter-v0",
            {"sees": spaces.Sequence(spaces.Discrete(2))},
            "observations Sequence.*of no fixed width. Supported are Box",
        ),
    ],
)
def test_what_cannot_be_used(id, settings, words):
    with pytest.raises(ConfigError, match=words):
        GymVectorEnv(id, 1, settings)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number(value):
    env = counter(pay=value)
    env.reset(seeded())
    with pytest.raises(StreamError, match=r"tests/Counter-v0: a reward after step 1 of episode 0"):
        env.step(zeros())
    env = counter(shows=np.full((2, 1), value, np.float32))
    with pytest.raises(StreamError, match="an observation after step 0 of episode 0"):
        env.reset(seeded())


def test_actions_that_there_are_not():
    env = counter()
    env.reset(seeded())
    with pytest.raises(StreamError, match="there is no action 2"):
        env.step(zeros() + 2)
    with pytest.raises(StreamError, match=r"actions are \(2,\) int64"):
        env.step(zeros(3))


def test_an_agent_is_trained_in_it(tmp_path):
    from sparsemeta.rl.config import Recipe, TrainingConfig
    from sparsemeta.rl.training import train

    training = TrainingConfig(steps=64, environments=4, segment=8, minibatches=2)
    environment = EnvironmentConfig("CartPole-v1", settings=("max_episode_steps=5",))
    recipe = Recipe("pole", environment, AgentConfig(width=8), training)
    train(recipe, tmp_path)
    assert '"return": 5.0' in (tmp_path / "log.jsonl").read_text()


def test_a_bad_reward_stops_training(tmp_path):
    from sparsemeta.rl.config import Recipe, TrainingConfig
    from sparsemeta.rl.training import train

    training = TrainingConfig(steps=64, environments=2, segment=8, minibatches=2)
    environment = EnvironmentConfig("tests/Counter-v0", settings=("pay=nan",))
    with pytest.raises(StreamError, match="a reward after step 1 of episode 0 is nan"):
        train(Recipe("bad", environment, AgentConfig(width=8), training), tmp_path)


def test_an_id_of_another_module(monkeypatch):
    module = types.ModuleType("some_package")
    monkeypatch.setitem(sys.modules, "some_package", module)
    assert GymVectorEnv("some_package:tests/Counter-v0", 1, {}).actions == 2


def test_without_gymnasium(monkeypatch):
    ordinary = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] == "gymnasium":
            raise ImportError(name)
        return ordinary(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "sparsemeta.rl.gym")
    with pytest.raises(MissingExtra, match=r"sparsemeta\[rl\]"):
        make(EnvironmentConfig("CartPole-v1"), 1)
