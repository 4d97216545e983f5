"""From what a recipe says to episodes: ids, settings, and what the agent is shown."""

import pytest
import torch

from sparsemeta.config import read_toml
from sparsemeta.errors import ConfigError
from sparsemeta.rl.agent import elsewhere, make
from sparsemeta.rl.config import EnvironmentConfig, Recipe
from sparsemeta.rl.environments import (
    REGISTRY,
    CardSorting,
    CardSortingStrict,
    ReversalBandit,
    TensorVectorEnv,
    find_spec,
)
from tests.rl.played import seeded
from tests.test_recipes import FOLDER


def env(id, *settings, observe=()):
    return make(EnvironmentConfig(f"sparsemeta/{id}-v0", settings, observe), 3)


@pytest.mark.parametrize("id", REGISTRY)
def test_ours(id):
    made = make(EnvironmentConfig(id), 3)
    assert isinstance(made, TensorVectorEnv)
    assert made.rules == find_spec(id).rules()
    assert made.reset(seeded()).shape == (3, made.width)


def test_settings():
    assert env("ReversalBandit", "hazard=0.1", "length = 7").rules == ReversalBandit(0.1, length=7)
    assert env("ReversalBandit", "hazard=1").rules.hazard == 1.0
    assert env("CardSorting", "criterion=[3, 5]").rules == CardSorting(criterion=(3, 5))
    assert env("CardSorting", "order=cycle").rules == CardSorting(order="cycle")
    assert env("CardSorting", "order='cycle'").rules == CardSorting(order="cycle")
    assert env("CardSortingStrict", "decks=false").rules == CardSortingStrict(decks=False)
    assert env("ReversalBandit", "length=7", "length=8").length == 8  # the last one counts


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (("hasard=0.1",), r"unknown key environment\.settings\.hasard; did you mean .*hazard"),
        (("hazard",), r"environment\.settings: 'hazard' is not name=value"),
        (("hazard=",), r"environment\.settings\.hazard = '' should be float"),
        (("=3",), "is not name=value"),
        (("hazard=often",), r"environment\.settings\.hazard = 'often' should be float"),
        (("hazard=7",), r"reversal\.hazard = 7\.0 must lie in \[0, 1\]"),
        (("length=2.5",), r"environment\.settings\.length = 2\.5 should be int"),
    ],
)
def test_settings_that_there_are_not(settings, words):
    with pytest.raises(ConfigError, match=words):
        env("ReversalBandit", *settings)


def test_an_environment_of_ours_that_there_is_not():
    with pytest.raises(ConfigError, match="'sparsemeta/Poker-v0': ours are sparsemeta/CardSorting"):
        env("Poker")


def test_elsewhere():
    trained = EnvironmentConfig("CartPole-v1", ("gravity=1",), observe=(0, 2))
    assert elsewhere(trained) == trained
    assert elsewhere(trained, "CartPole-v1", ("gravity=2",)).settings == ("gravity=1", "gravity=2")
    other = elsewhere(trained, "FrozenLake-v1", ("map_name=8x8",))
    assert other == EnvironmentConfig("FrozenLake-v1", ("map_name=8x8",), observe=(0, 2))


def test_an_observation_filter():
    whole, part = (
        env("CardSorting", "length=2"),
        env("CardSorting", "length=2", observe=(12, 0)),
    )
    assert (part.batch, part.actions, part.width, part.length) == (3, 4, 2, 2)
    action = torch.zeros(3, dtype=torch.int64)
    assert torch.equal(part.reset(seeded()), whole.reset(seeded())[:, [12, 0]])
    for _ in range(3):
        seen, all_ = part.step(action), whole.step(action)
        assert torch.equal(seen.observation, all_.observation[:, [12, 0]])
        assert torch.equal(seen.final, all_.final[:, [12, 0]])
        assert torch.equal(seen.reward, all_.reward)


@pytest.mark.parametrize("entry", [-1, 15])
def test_a_filter_of_what_there_is_not(entry):
    with pytest.raises(ConfigError, match=f"names entry {entry}; they are 0 to 14"):
        env("CardSorting", observe=(entry,))


@pytest.mark.parametrize("path", sorted((FOLDER / "rl").glob("*.toml")), ids=lambda p: p.stem)
def test_every_recipe_names_an_environment(path):
    recipe = read_toml(path, Recipe)
    assert recipe.name == path.stem
    if recipe.environment.id not in REGISTRY:
        pytest.importorskip("gymnasium")
    assert make(recipe.environment, 1).actions >= 2
