"""What holds in every environment: seeds, rows apart, autoreset, refusals."""

import pytest
import torch

from sparsemeta.errors import ConfigError, StreamError
from sparsemeta.rl.environments import (
    BernoulliBandit,
    CardSorting,
    CardSortingStrict,
    GraphPOMDP,
    ReversalBandit,
    TensorVectorEnv,
    TwoStep,
    Uniform,
)
from tests.rl.played import played, seeded

SMALL = {
    "card sorting": CardSorting(length=14, criterion=(1, 2)),
    "strict": CardSortingStrict(),
    "reversal": ReversalBandit(length=9, hazard=0.3),
    "bandit": BernoulliBandit(arms=3, length=9),
    "two-step": TwoStep(trials=5),
    "graph": GraphPOMDP(length=12),
}
every = pytest.mark.parametrize("rules", SMALL.values(), ids=SMALL.keys())


def walk(rules, actions, seed=0):
    """Observations, rewards and ends when some actions (T, B) are taken."""
    environment = TensorVectorEnv(rules, actions.shape[1])
    seen = [environment.reset(seeded(seed))]
    rewards, ends = [], []
    for action in actions:
        step = environment.step(action)
        seen.append(step.observation)
        rewards.append(step.reward)
        ends.append(step.done)
    return torch.stack(seen), torch.stack(rewards), torch.stack(ends)


def random_actions(rules, steps=40, batch=6, seed=1):
    return torch.randint(rules.actions, (steps, batch), generator=seeded(seed))


@every
def test_a_seed_gives_one_game(rules):
    actions = random_actions(rules)
    first, again = walk(rules, actions), walk(rules, actions)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    other = walk(rules, actions, seed=1)
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@every
def test_observations_are_as_wide_as_declared(rules):
    seen, rewards, ends = walk(rules, random_actions(rules))
    assert seen.shape[2] == rules.width
    assert (seen.dtype, rewards.dtype, ends.dtype) == (torch.float32, torch.float32, torch.bool)
    assert seen.min() >= 0
    assert seen.max() <= 1


@every
def test_rows_do_not_touch(rules):
    actions = random_actions(rules)
    others = actions.clone()
    others[:, 1:] = (others[:, 1:] + 1) % rules.actions
    for a, b in zip(walk(rules, actions), walk(rules, others), strict=True):
        assert torch.equal(a[:, 0], b[:, 0])


@every
def test_autoreset(rules):
    environment = TensorVectorEnv(rules, 3)
    environment.reset(seeded())
    for step in range(1, rules.length + 1):
        answer = environment.step(torch.zeros(3, dtype=torch.int64))
        assert answer.done.all() == (step == rules.length)
        if not answer.done.any():
            assert torch.equal(answer.observation, answer.final)
    again = seeded()
    for _ in range(2):  # the next state is new, and is that of a beginning
        fresh = rules.start(3, again)
    assert all(type(a) is type(b) for a, b in zip(environment.state, fresh, strict=True))
    clock = getattr(environment.state, "trial", getattr(environment.state, "step", None))
    assert clock.tolist() == [0, 0, 0]
    assert torch.equal(answer.observation, rules.observe(environment.state))


def test_one_row_ends_alone():
    rules = CardSorting(length=20, criterion=(2, 2), categories=1)
    environment = TensorVectorEnv(rules, 2)
    environment.reset(seeded())
    for _ in range(2):
        card, rule = environment.state.card, environment.state.rule
        right = card.gather(1, rule[:, None]).squeeze(1)
        step = environment.step(torch.stack([right[0], (right[1] + 1) % 4]))
    assert step.done.tolist() == [True, False]
    assert environment.state.trial.tolist() == [0, 2]
    assert torch.equal(step.final[1], step.observation[1])
    assert step.final[0, -3:].any()
    assert not step.observation[0, -3:].any()  # nothing was matched yet


@every
def test_advance_leaves_the_state_as_it_is(rules):
    state = rules.start(4, seeded())
    kept = [tensor.clone() for tensor in state]
    rules.advance(state, random_actions(rules, 1, 4)[0], seeded())
    assert all(torch.equal(a, b) for a, b in zip(state, kept, strict=True))


def test_returns_are_of_whole_episodes():
    record = played(SMALL["graph"], Uniform(), batch=3)
    assert torch.allclose(record.returns(), record.reward.sum(0))
    rules = CardSorting(length=20, criterion=(1, 1), categories=3)
    record = played(rules, Uniform(), batch=5)
    expected = [
        total
        for row in range(5)
        for total in _totals(record.reward[:, row].tolist(), record.done[:, row].tolist())
    ]
    assert sorted(record.returns().tolist()) == sorted(expected)
    assert len(expected) > 5


def _totals(rewards, ends):
    total = 0.0
    for reward, end in zip(rewards, ends, strict=True):
        total += reward
        if end:
            yield total
            total = 0.0


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (torch.tensor([0, 4]), "no action 4: CardSorting has 4, 0 to 3"),
        (torch.tensor([-1, 0]), "no action -1"),
        (torch.tensor([0]), "one for each episode"),
        (torch.tensor([0.0, 1.0]), "not \\(2,\\) float32"),
    ],
)
def test_bad_actions(action, message):
    environment = TensorVectorEnv(CardSorting(), 2)
    environment.reset(seeded())
    with pytest.raises(StreamError, match=message):
        environment.step(action)


def test_nothing_before_a_reset():
    with pytest.raises(StreamError, match="Call reset"):
        TensorVectorEnv(CardSorting(), 1).step(torch.tensor([0]))


@pytest.mark.parametrize(
    ("kind", "setting", "message"),
    [
        (CardSorting, {"length": 0}, "length = 0 must be at least 1"),
        (CardSorting, {"criterion": (0, 3)}, "card_sorting.criterion = 0 must be at least 1"),
        (CardSorting, {"criterion": (4, 3)}, "the fewest and the most"),
        (CardSorting, {"criterion": (4, 5, 6)}, "the fewest and the most"),
        (CardSorting, {"order": "backwards"}, "'random' or 'cycle'"),
        (CardSorting, {"categories": 0}, "card_sorting.categories = 0 must be at least 1"),
        (ReversalBandit, {"hazard": 1.1}, r"reversal.hazard = 1.1 must lie in \[0, 1\]"),
        (ReversalBandit, {"hazard": float("nan")}, "hazard = nan must lie"),
        (ReversalBandit, {"low": 0.9}, "must lie below reversal.high = 0.8"),
        (ReversalBandit, {"length": 0}, "length = 0 must be at least 1"),
        (BernoulliBandit, {"arms": 1}, "bandit.arms = 1 must be at least 2"),
        (BernoulliBandit, {"length": 0}, "length = 0 must be at least 1"),
        (TwoStep, {"common": 0.4}, r"two_step.common = 0.4 must lie in \[0.5, 1\]"),
        (TwoStep, {"walk": -0.1}, r"walk = -0.1 must lie in \[0, 0.25\]"),
        (TwoStep, {"trials": 0}, "trials = 0 must be at least 1"),
        (GraphPOMDP, {"places": 2}, "graph.places = 2 must be at least 3"),
        (GraphPOMDP, {"kinds": 2}, "graph.kinds = 2 must be at least 3"),
        (GraphPOMDP, {"length": 0}, "length = 0 must be at least 1"),
    ],
)
def test_bad_settings(kind, setting, message):
    with pytest.raises(ConfigError, match=message):
        kind(**setting)


def test_an_empty_batch():
    with pytest.raises(ConfigError, match="give at least 1"):
        TensorVectorEnv(CardSorting(), 0)
