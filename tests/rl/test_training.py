"""Training: what it learns, what it saves, and that a stop changes nothing."""

import json
import signal
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from sparsemeta.config import read_toml
from sparsemeta.errors import CheckpointError, ConfigError, TrainingError
from sparsemeta.rl import load, ppo, training
from sparsemeta.rl.agent import ActorCritic, Player, make
from sparsemeta.rl.config import AgentConfig, EnvironmentConfig, Recipe, TrainingConfig
from sparsemeta.rl.environments import (
    REGISTRY,
    EnvironmentSpec,
    ReversalBandit,
    TensorVectorEnv,
    Turn,
    play,
)
from sparsemeta.rl.training import train
from sparsemeta.run import Interrupted, Progress, step_folders
from tests.rl.played import seeded
from tests.rl.small import TINY, small


def weights(agent):
    return parameters_to_vector(agent.parameters()).detach()


def memory_of(player):
    return next(iter(player.state.memory.layers.values()))


class At(Progress):
    """Calls something after a segment."""

    def __init__(self, step, what):
        super().__init__(quiet=True)
        self.at, self.what = step, what

    def advance(self, step, status):
        if step == self.at:
            self.what()


def stop():
    signal.raise_signal(signal.SIGINT)


def die():
    raise ZeroDivisionError  # like a kill, it saves nothing


def a2c(forward, rollout, config, entropy_weight):
    """The loss of Mnih et al. (2016), as they write it."""
    judged, _ = forward(rollout.seen, rollout.state, fresh=rollout.fresh)
    log_policy = judged.logits.log_softmax(-1)
    taken = log_policy.gather(-1, rollout.action[..., None]).squeeze(-1)
    entropy = -(log_policy.exp() * log_policy).sum(-1).mean()
    error = (judged.value - rollout.target).square().mean()
    return -(taken * rollout.advantage).mean() + config.value * error - entropy_weight * entropy


@pytest.mark.parametrize("adaptive", [True, False])
def test_a2c_is_ppo_of_one_update(adaptive):
    recipe = small(replace(TINY, adaptive=adaptive), algorithm="a2c", epochs=3)
    config, environment = recipe.training, make(recipe.environment, 8)
    agent = ActorCritic(environment.width, environment.actions, recipe.agent)
    rollout = training.Collector(agent, environment, seeded(), config).collect()
    parameters, found = list(agent.parameters()), []

    def descend(loss):
        found.append(torch.autograd.grad(loss, parameters, materialize_grads=True))
        return 0.0

    ppo.update(agent, descend, rollout, config, 0.05)
    loss = a2c(agent, rollout, config, 0.05)
    expected = torch.autograd.grad(loss, parameters, materialize_grads=True)
    assert len(found) == 1
    # The ratio is 1 but for rounding: the old probabilities were computed step by step.
    for one, other in zip(found[0], expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_ppo_of_many_updates_is_another(tmp_path):
    one = train(small(algorithm="a2c"), tmp_path / "a2c")
    two = train(small(algorithm="ppo", epochs=2), tmp_path / "ppo")
    assert not torch.allclose(weights(one), weights(two), rtol=1e-2)


class Sign(NamedTuple):
    """Shows which of two arms pays."""

    pays: torch.Tensor


@dataclass(frozen=True)
class Signpost:
    """Follow the sign."""

    length: int = 4
    actions = 2
    width = 2

    def start(self, batch, generator):
        return Sign(torch.randint(2, (batch,), generator=generator))

    def observe(self, state):
        return torch.nn.functional.one_hot(state.pays, 2).float()

    def advance(self, state, action, generator):
        reward = (action == state.pays).float()
        done = torch.rand(len(action), generator=generator) < 1 / self.length
        return Turn(self.start(len(action), generator), reward, done, state)


@pytest.mark.parametrize("algorithm", ["a2c", "ppo"])
def test_it_learns(tmp_path, monkeypatch, algorithm):
    monkeypatch.setitem(REGISTRY, "sparsemeta/Signpost-v0", EnvironmentSpec(Signpost))
    recipe = small(
        id="sparsemeta/Signpost-v0",
        settings=(),
        algorithm=algorithm,
        steps=20 * 4 * 32,
        environments=32,
        learning_rate=3e-2,
        discount=0.0,
    )
    agent = train(recipe, tmp_path)
    record = play(TensorVectorEnv(Signpost(), 200), Player(agent), seeded(1))
    assert record.reward.mean() > 0.95  # by chance .5


def test_killed_and_resumed_is_never_killed(tmp_path):
    recipe = small(epochs=2)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        train(recipe, tmp_path / "run", progress=At(5, die))  # a segment after a checkpoint
    assert [p.name for p in step_folders(tmp_path / "run/checkpoints")] == ["step-000004"]
    torch.manual_seed(5)
    resumed = train(recipe, tmp_path / "run")
    assert torch.equal(weights(whole), weights(resumed))
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("whole", "run")
    ]
    assert [record["step"] for record in logs[1]] == [1, 2, 3, 4, 5, 6]
    losses = [[record["policy_loss"] for record in log] for log in logs]
    assert losses[0] == losses[1]
    again = train(recipe, tmp_path / "run")  # nothing is left to do
    assert torch.equal(weights(whole), weights(again))


def test_ctrl_c_saves(tmp_path):
    with pytest.raises(Interrupted, match="Stopped after step 3 of 6; saved in"):
        train(small(), tmp_path, progress=At(3, stop))
    assert [p.name for p in step_folders(tmp_path / "checkpoints")] == ["step-000003"]
    train(small(), tmp_path)
    assert [p.name for p in step_folders(tmp_path / "checkpoints")] == ["step-000006"]


def test_what_a_run_leaves(tmp_path):
    trained = train(small(), tmp_path)
    assert read_toml(tmp_path / "recipe.toml", Recipe) == small()
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["environment_steps"] for line in log] == [32 * (n + 1) for n in range(6)]
    assert log[0]["return"] is None  # no episode was over
    assert 0 <= log[1]["return"] <= 5
    agent, recipe = load(tmp_path)
    assert recipe == small()
    assert torch.equal(weights(agent), weights(trained))
    assert torch.equal(weights(load(tmp_path / "checkpoints/step-000006")[0]), weights(trained))


def test_seeds(tmp_path):
    one, same, other = (
        train(small(seed=seed), tmp_path / name) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert torch.equal(weights(one), weights(same))
    assert not torch.equal(weights(one), weights(other))


def test_no_two_beginnings_are_alike(tmp_path, monkeypatch):
    seeds = []

    class Noted(training.Collector):
        def __init__(self, agent, world, generator, config):
            seeds.append(generator.initial_seed())
            super().__init__(agent, world, generator, config)

    monkeypatch.setattr(training, "Collector", Noted)
    for seed in (0, 1):
        train(small(seed=seed), tmp_path / str(seed))
    assert len(set(seeds)) == len(seeds) == 6  # one after each checkpoint


def test_begun_anew(tmp_path):
    first = train(small(), tmp_path)
    other = train(small(seed=1), tmp_path, resume=False)
    assert not torch.equal(weights(first), weights(other))
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 6


def test_a_run_by_another_recipe_is_refused(tmp_path):
    train(small(), tmp_path)
    with pytest.raises(ConfigError, match=r"training\.discount \(was 0\.9, now 0\.5\)"):
        train(small(discount=0.5), tmp_path)
    assert read_toml(tmp_path / "recipe.toml", Recipe) == small()


def test_no_agent_or_a_damaged_one(tmp_path):
    with pytest.raises(CheckpointError, match="there is no trained agent"):
        load(tmp_path)
    train(small(), tmp_path)
    weights = tmp_path / "checkpoints/step-000006/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:50])
    with pytest.raises(CheckpointError, match="damaged"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="damaged"):
        train(small(), tmp_path)


def test_a_bad_environment_leaves_no_trace(tmp_path):
    with pytest.raises(ConfigError, match=r"environment.settings.lenght.*length"):
        train(small(settings=("lenght=5",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_finite_stop_it(tmp_path):
    with pytest.raises(TrainingError, match=r"--training\.learning-rate 5e\+29"):
        train(small(learning_rate=1e30, clip=1e30), tmp_path)


def test_playing_changes_no_slow_weight(tmp_path):
    agent = train(small(), tmp_path)
    before = {name: value.clone() for name, value in agent.state_dict().items()}
    player = Player(agent)
    play(TensorVectorEnv(ReversalBandit(length=20), 4), player, seeded())
    assert all(torch.equal(before[name], value) for name, value in agent.state_dict().items())
    assert memory_of(player).table.any()  # what it learned is there


@pytest.mark.parametrize(("episodes", "steps"), [(1, 1), (2, 5), (3, 5)])
def test_a_memory_over_episodes(episodes, steps):
    player = Player(ActorCritic(1, 2, TINY), episodes=episodes)
    play(TensorVectorEnv(ReversalBandit(length=4), 3), player, seeded(), steps=5)
    assert memory_of(player).steps.tolist() == [steps] * 3  # since it was emptied


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("steps", 0, r"training\.steps = 0 must be at least 1"),
        ("learning_rate", 0.0, r"training\.learning_rate = 0\.0 must be positive"),
        ("discount", 1.5, r"training\.discount = 1\.5 must lie in \[0, 1\]"),
        ("entropy", -1.0, r"training\.entropy = -1\.0 must not be negative"),
        ("minibatches", 3, r"training\.environments = 256 must be a multiple"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, value, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig(**{setting: value})
    with pytest.raises(ConfigError, match=r"agent\.width = 0 must be at least 1"):
        AgentConfig(width=0)


def test_the_length_of_a_run():
    assert TrainingConfig(steps=1, environments=8, segment=4).updates == 1
    assert TrainingConfig(steps=33, environments=8, segment=4).updates == 2
    assert EnvironmentConfig().id == "sparsemeta/CardSorting-v0"
