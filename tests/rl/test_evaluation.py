"""What is measured of an agent and of those beside it."""

import math
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from sparsemeta.errors import ConfigError
from sparsemeta.rl import evaluation
from sparsemeta.rl.agent import ActorCritic, make
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import REGISTRY, find_spec
from sparsemeta.rl.evaluation import evaluate
from tests.rl.small import TINY

CARDS = EnvironmentConfig("sparsemeta/CardSorting-v0")


def agent_for(config, seed=0):
    torch.manual_seed(seed)
    env = make(config, 1)
    agent = ActorCritic(env.width, env.actions, TINY)
    torch.nn.init.normal_(agent.actor.weight)
    return agent


def test_card_sorting():
    found = evaluate(agent_for(CARDS), CARDS, episodes=200)
    assert list(found.players) == [
        *("agent", "ideal observer", "not counting", "win-stay-lose-shift", "uniform")
    ]
    best = found.players["ideal observer"]
    published = {"reward": 114.44, "errors": 13.56, "perseverative": 9.8, "categories": 11.3}
    for name, value in published.items():
        mean, error = best.measures[name]
        # How categories were counted where that was published is not known to a tenth.
        assert mean == pytest.approx(value, abs=4 * error + (0.5 if name == "categories" else 0.1))
        assert 0 < error < 0.3
    assert best.curve == pytest.approx([0.67, 0.33, 0.08, 0.02, 0.004], abs=0.04)
    uniform = found.players["uniform"]
    assert uniform.measures["errors"][0] == pytest.approx(96, abs=1)
    assert uniform.curve == []  # too few categories to tell


def test_every_category_is_counted():
    strict = EnvironmentConfig("sparsemeta/CardSortingStrict-v0")
    found = evaluate(agent_for(strict), strict, episodes=20)
    assert found.players["ideal observer"].measures["categories"] == (6.0, 0.0)


@pytest.mark.parametrize("id", REGISTRY)
def test_every_environment_of_ours(id):
    config = EnvironmentConfig(id, ("trials=3",) if "TwoStep" in id else ("length=6",))
    found = evaluate(agent_for(config), config, episodes=3)
    assert list(found.players)[1:-1] == list(find_spec(id).rivals)
    for played in found.players.values():
        assert all(map(math.isfinite, (*played.curve, *played.measures["reward"])))
    if not find_spec(id).curve.ticks:
        assert len(played.curve) == 6
        assert sum(played.curve) == pytest.approx(played.measures["reward"][0])


def test_the_two_step_task_is_told_by_what_is_repeated(tmp_path):
    config = EnvironmentConfig("sparsemeta/TwoStep-v0", ("trials=60",))
    found = evaluate(agent_for(config), config, episodes=200)
    unpaid_rare, unpaid_common, paid_rare, paid_common = found.players["model-based"].curve
    assert min(unpaid_rare, paid_common) > max(unpaid_common, paid_rare) + 0.1
    unpaid_rare, unpaid_common, paid_rare, paid_common = found.players["model-free"].curve
    assert min(paid_rare, paid_common) > max(unpaid_rare, unpaid_common) + 0.1
    evaluation.plot(found, tmp_path / "stays.png")
    assert (tmp_path / "stays.png").stat().st_size > 10_000


def test_several_episodes_of_a_task():
    config = EnvironmentConfig("sparsemeta/ReversalBandit-v0", ("length=5",))
    once, twice = (
        evaluate(agent_for(config), config, episodes=300 * n, per_task=n) for n in (1, 2)
    )
    for name in once.players:
        (mean, error), (other, _) = (e.players[name].measures["reward"] for e in (once, twice))
        assert mean == pytest.approx(other, abs=4 * error)  # both per episode
    assert len(twice.players["agent"].curve) == 10


def test_seeds_and_draws():
    def rewards(**options):
        found = evaluate(
            agent_for(CARDS), replace(CARDS, settings=("length=20",)), episodes=8, **options
        )
        return {name: played.measures["reward"] for name, played in found.players.items()}

    assert rewards() == rewards(seed=0)
    assert rewards(alone=True) == {"agent": rewards()["agent"]}
    assert rewards()["ideal observer"] != rewards(seed=1)["ideal observer"]
    assert rewards(greedy=False)["agent"] != rewards()["agent"]


def test_only_the_agent_sees_less():
    less = replace(CARDS, settings=("length=30",), observe=tuple(range(12)))
    found = evaluate(agent_for(less), less, episodes=50)
    assert found.players["ideal observer"].measures["errors"][0] < 6


def test_slow_weights_are_only_read():
    agent = agent_for(CARDS)
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    evaluate(agent, replace(CARDS, settings=("length=10",)), episodes=4)
    assert all(torch.equal(before[name], value) for name, value in agent.state_dict().items())
    assert all(parameter.grad is None for parameter in agent.parameters())


def test_an_agent_where_it_does_not_fit():
    bandit = EnvironmentConfig("sparsemeta/ReversalBandit-v0")
    with pytest.raises(ConfigError, match=r"width 1 and 2 actions; .* width 15 and 4 actions"):
        evaluate(agent_for(CARDS), bandit)
    arms = EnvironmentConfig("sparsemeta/BernoulliBandit-v0", ("arms=3",))
    with pytest.raises(ConfigError, match=r"and 3 actions; .* 5 actions"):
        evaluate(agent_for(replace(arms, settings=())), arms)


def test_an_environment_of_gymnasium():
    pytest.importorskip("gymnasium")
    config = EnvironmentConfig("CartPole-v1", ("max_episode_steps=12",))
    found = evaluate(agent_for(config), config, episodes=5)
    assert list(found.players) == ["agent", "uniform"]
    reward, error = found.players["uniform"].measures["reward"]
    assert 8 <= reward <= 12
    assert error >= 0
    assert found.players["uniform"].curve[:5] == [1.0] * 5


def test_the_report(capsys):
    found = evaluate(agent_for(CARDS), replace(CARDS, settings=("length=40",)), episodes=20)
    Console(width=140).print(evaluation.table(found))
    text = capsys.readouterr().out
    for words in ("errors by trial after a switch", "perseverative", "win-stay-lose-shift", "±"):
        assert words in text
    assert "length=40: per episode, mean ± standard error over 20 epi" in evaluation.summary(found)
    data = evaluation.to_dict(found)
    assert data["environment"]["settings"] == ("length=40",)
    assert data["curve"] == "errors by trial after a switch"
    assert set(data["players"]["agent"]) == {"measures", "curve"}
