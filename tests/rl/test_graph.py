"""The graph POMDP: its graphs, its rules, and what can be earned."""

import pytest
import torch

from sparsemeta.rl.environments import GraphPOMDP, KnownGraph, Uniform
from sparsemeta.rl.environments.graph import GraphState, draw_graphs, steps_between
from tests.rl.played import played, seeded


@pytest.mark.parametrize(
    ("agent", "published"), [(KnownGraph(), 165.4), (Uniform(), 45.4)], ids=["known", "uniform"]
)
def test_published_rewards(agent, published):
    rewards = played(GraphPOMDP(), agent, batch=1500).returns()
    assert rewards.mean().item() == pytest.approx(published, abs=2.0)


@pytest.mark.parametrize(("places", "kinds"), [(5, 3), (3, 3), (7, 4)])
def test_graphs(places, kinds):
    leads = draw_graphs(200, places, kinds, seeded())
    assert leads.shape == (200, places, kinds)
    assert steps_between(leads).isfinite().all()
    ways = (leads != torch.arange(places)[:, None]).sum((1, 2))
    assert (ways == 2 * places).all()  # one out of and one into each


def test_steps_between():
    ring = torch.tensor([[[1, 0], [2, 1], [0, 2]]])  # one way round
    assert steps_between(ring).tolist() == [[[0, 1, 2], [2, 0, 1], [1, 2, 0]]]
    apart = torch.tensor([[[1], [0], [2]]])
    assert steps_between(apart)[0, 0].tolist() == [0, 1, torch.inf]


def ring(**changes) -> GraphState:
    """At place 0 of a ring of five, with action 0 going on and action 1 nowhere."""
    zero = torch.zeros(1, dtype=torch.int64)
    here = torch.arange(5)
    leads = torch.stack([(here + 1) % 5, here], dim=1)[None]
    state = GraphState(leads, zero, zero + 2, zero, zero.bool(), zero)
    return state._replace(**{name: torch.tensor([value]) for name, value in changes.items()})


def test_rewards_and_penalties():
    rules = GraphPOMDP()
    go, nowhere = torch.tensor([0]), torch.tensor([1])
    turn = rules.advance(ring(), go, seeded())
    assert (turn.reward.item(), turn.state.place.item(), turn.state.goal.item()) == (0, 1, 2)
    assert not turn.state.taken
    turn = rules.advance(ring(), nowhere, seeded())
    assert turn.reward.item() == pytest.approx(-0.05)
    assert turn.state.place.item() == 0
    assert not turn.info.moved
    turn = rules.advance(ring(place=1), go, seeded())
    assert turn.reward.item() == 10
    assert turn.state.goal.item() != 2
    assert turn.state.place.item() != turn.state.goal.item()
    assert turn.state.taken
    assert turn.info.reached


def test_every_sixth_step_in_vain_takes_the_agent_away():
    rules = GraphPOMDP()
    nowhere = torch.tensor([1])
    assert not rules.advance(ring(wasted=4), nowhere, seeded()).state.taken
    turn = rules.advance(ring(wasted=5), nowhere, seeded())
    assert turn.state.taken
    assert turn.state.wasted.item() == 0
    assert turn.state.goal.item() != 2
    assert turn.state.place.item() != turn.state.goal.item()
