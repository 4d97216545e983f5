"""The bandits, and what is published of those who play them."""

import pytest
import torch

from sparsemeta.rl.environments import (
    UCB,
    BernoulliBandit,
    Gittins,
    Greedy,
    ReversalBandit,
    ReversalObserver,
    ReversalWinStay,
    Thompson,
    Uniform,
    gittins_indices,
)
from tests.rl.played import near, played, seeded


@pytest.mark.parametrize(("hazard", "published"), [(0.02, 74.05), (0.05, 69.97), (0.1, 65.73)])
def test_ideal_observer_of_reversals(hazard, published):
    record = played(ReversalBandit(hazard=hazard), ReversalObserver(), batch=4000)
    assert near(record.returns(), published)


def test_win_stay_lose_shift_of_two():
    assert near(played(ReversalBandit(), ReversalWinStay(), batch=4000).returns(), 66.1)


def test_uniform_choice_of_two():
    assert near(played(ReversalBandit(), Uniform(), batch=4000).returns(), 50)


def test_reversals_come_at_the_hazard():
    rules = ReversalBandit(hazard=0.1)
    state, chance = rules.start(4000, seeded()), seeded()
    turn = rules.advance(state, state.better, chance)
    assert turn.info.correct.all()
    changed = turn.state.better != state.better
    assert changed.float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert turn.reward.mean().item() == pytest.approx(0.8, abs=0.02)
    assert turn.reward[changed].mean() > 0.7  # they change after the reward was drawn


@pytest.mark.parametrize(
    ("agent", "published", "error"),
    [
        (Thompson(), 75.05, 0),
        (UCB(0.2), 78.0, 0),
        (Greedy(), 75.9, 0),
        (Gittins(), 78.3, 0.2),
        (Uniform(), 50, 0),
    ],
    ids=["Thompson", "UCB", "greedy", "Gittins", "uniform"],
)
def test_published_rewards(agent, published, error):
    assert near(played(BernoulliBandit(), agent).returns(), published, error)


def test_regret():
    record = played(BernoulliBandit(length=50), Uniform(), batch=4000)
    lost = record.info.regret.mean().item()  # the best of five is 5/6 in the mean, each 1/2
    assert lost == pytest.approx(5 / 6 - 1 / 2, abs=0.01)


def test_gittins_indices_by_hand():
    table = gittins_indices(3)
    assert table[0, :, 0].tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 4], abs=1e-3)  # the mean
    # Two trials left, nothing known: 2 x = 1/2 (1 + max(x, 2/3)) + 1/2 max(x, 1/3), so x = 5/9.
    assert table[1, 0, 0].item() == pytest.approx(5 / 9, abs=1e-3)


def test_gittins_indices_grow_with_the_trials_left():
    table = gittins_indices(20)
    of_the_unknown = table[:, 0, 0]
    assert (of_the_unknown.diff() > 0).all()
    assert (table[9, 5, :6].diff() > 0).all()  # and with what was paid
    assert torch.isfinite(table).all()


def test_counts_are_forgotten_with_the_episode():
    agent = Greedy()
    played(BernoulliBandit(length=20), agent, batch=3)
    assert agent._paid.tolist() == agent._pulls.tolist() == [[0.0] * 5] * 3
