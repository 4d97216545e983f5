"""The environments in Gymnasium: its checker, its seeds, its vectors."""

import builtins
import importlib
import sys

import numpy as np
import pytest

from sparsemeta.errors import MissingExtra, StreamError
from sparsemeta.rl.environments import CardSorting, ReversalBandit

gymnasium = pytest.importorskip("gymnasium")
adapter = importlib.import_module("sparsemeta.rl.gym")

IDS = [
    f"sparsemeta/{name}-v0"
    for name in (
        "BernoulliBandit",
        "CardSorting",
        "CardSortingStrict",
        "GraphPOMDP",
        "ReversalBandit",
        "TwoStep",
    )
]


def test_ids():
    assert sorted(name for name in gymnasium.registry if name.startswith("sparsemeta/")) == IDS


@pytest.mark.parametrize("name", IDS)
def test_checker(name):
    from gymnasium.utils.env_checker import check_env

    check_env(gymnasium.make(name).unwrapped)


@pytest.mark.parametrize("name", IDS)
def test_vector(name):
    envs = gymnasium.make_vec(name, num_envs=3)
    assert envs.metadata["autoreset_mode"] is gymnasium.vector.AutoresetMode.SAME_STEP
    first, _ = envs.reset(seed=1)
    again, _ = envs.reset(seed=1)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, envs.reset(seed=2)[0]) or first.shape[1] < 4
    envs.action_space.seed(0)
    for _ in range(3):
        observation, reward, terminated, truncated, _ = envs.step(envs.action_space.sample())
        assert envs.observation_space.contains(observation)
        assert reward.shape == terminated.shape == (3,)
        assert not truncated.any()


def test_the_end_of_an_episode_in_a_vector():
    envs = gymnasium.make_vec("sparsemeta/CardSorting-v0", num_envs=2, rules=CardSorting(length=2))
    envs.reset(seed=0)
    actions = np.zeros(2, np.int64)
    *_, terminated, _, info = envs.step(actions)
    assert not terminated.any()
    assert info["_since"].all()
    assert "final_obs" not in info
    observation, _, terminated, _, info = envs.step(actions)
    assert terminated.all()
    assert not info["_since"].any()
    assert info["final_info"]["since"].tolist() == [1, 1]
    assert info["_final_obs"].all()
    assert info["final_obs"][0].shape == observation[0].shape
    assert not observation[:, 12:].any()


def test_one_episode_at_a_time():
    env = gymnasium.make("sparsemeta/ReversalBandit-v0", rules=ReversalBandit(length=2)).unwrapped
    with pytest.raises(StreamError, match=r"Call reset\(\)"):
        env.step(0)
    env.reset(seed=0)
    assert [env.step(0)[2:4] for _ in range(2)] == [(False, False), (True, False)]
    with pytest.raises(StreamError, match=r"Call reset\(\)"):
        env.step(0)
    env.reset()
    with pytest.raises(StreamError, match="no action 2"):
        env.step(2)


def test_seeds_go_on():
    env = gymnasium.make("sparsemeta/CardSorting-v0")
    games = [[env.reset(seed=5)[0], env.reset()[0], env.reset()[0]] for _ in range(2)]
    assert np.array_equal(games[0], games[1])
    assert not np.array_equal(games[0][0], games[0][1])


def test_rendering():
    env = gymnasium.make("sparsemeta/CardSorting-v0", render_mode="ansi")
    env.reset(seed=0)
    assert "rule: " in env.render()
    env = gymnasium.make("sparsemeta/CardSorting-v0", render_mode="rgb_array")
    env.reset(seed=0)
    before = env.render()
    env.step(0)
    assert before.dtype == np.uint8
    assert not np.array_equal(before, env.render())


def test_without_gymnasium(monkeypatch):
    ordinary = builtins.__import__

    def without(name, *rest, **named):
        if name.partition(".")[0] == "gymnasium":
            raise ImportError(name)
        return ordinary(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.delitem(sys.modules, "sparsemeta.rl.gym")
    with pytest.raises(MissingExtra, match=r"sparsemeta\[rl\]"):
        importlib.import_module("sparsemeta.rl.gym")
