"""The two-step task, and the pattern of stays that tells learners apart."""

import pytest
import torch

from sparsemeta.rl.environments import ModelBased, ModelFree, TwoStep, stay_probability
from sparsemeta.rl.environments.two_step import reflect
from tests.rl.played import played, seeded


def pattern(agent):
    """The effect of a reward on staying, and how it depends on the way."""
    stay = stay_probability(played(TwoStep(trials=100), agent, batch=200))
    effect = stay[1] - stay[0]  # by rare, common
    return effect.mean().item(), (effect[1] - effect[0]).item()


def test_model_free_stays_after_a_reward_however_it_came():
    main, interaction = pattern(ModelFree())
    assert main > 0.25
    assert abs(interaction) < 0.06


def test_model_based_stays_by_what_led_there():
    main, interaction = pattern(ModelBased())
    assert abs(main) < 0.02
    assert interaction > 0.25


def test_model_based_earns_more():
    rewards = [
        played(TwoStep(trials=100), agent, batch=200).returns().mean().item() / 100
        for agent in (ModelBased(), ModelFree())
    ]
    assert rewards[0] > rewards[1] + 0.01
    assert rewards[1] > 0.51


def test_transitions_and_payments():
    rules = TwoStep()
    state = rules.start(4000, seeded())
    action = torch.arange(4000) % 2
    turn = rules.advance(state, action, seeded(1))
    assert not turn.reward.any()
    assert turn.info.common.float().mean().item() == pytest.approx(0.7, abs=0.03)
    assert torch.equal(turn.info.common, turn.state.stage == 1 + action)
    assert torch.equal(turn.state.pays, state.pays)
    second = rules.advance(turn.state, action, seeded(2))
    chosen = 2 * (turn.state.stage - 1) + action
    pays = turn.state.pays.gather(1, chosen[:, None]).mean().item()
    assert second.reward.mean().item() == pytest.approx(pays, abs=0.03)
    assert (second.state.stage == 0).all()
    moved = second.state.pays - state.pays
    assert moved.std().item() == pytest.approx(0.025, rel=0.05)
    assert second.state.pays.min() >= 0.25
    assert second.state.pays.max() <= 0.75


def test_reflection():
    pays = torch.tensor([0.2, 0.25, 0.5, 0.8])
    assert reflect(pays).tolist() == pytest.approx([0.3, 0.25, 0.5, 0.7])


def test_without_a_walk_the_observer_settles():
    record = played(TwoStep(trials=60, walk=0.0), ModelBased(), batch=300)
    reward = record.reward[1::2]
    assert reward[40:].mean() > reward[:5].mean() + 0.02
