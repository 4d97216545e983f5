"""What a segment holds: who was told what and when, and what every action was worth."""

from typing import NamedTuple

import pytest
import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.rl.agent import ActorCritic
from sparsemeta.rl.config import AgentConfig, TrainingConfig
from sparsemeta.rl.environments import CardSorting, Step, TensorVectorEnv, VectorEnv
from sparsemeta.rl.rollout import Collector, advantages
from tests.rl.played import seeded

TINY = AgentConfig(
    width=8, memory=MemoryConfig(slots=8, active=2, heads=1, key_width=4, value_width=4)
)


class Nothing(NamedTuple):
    pass


class Clock(VectorEnv):
    """Shows the step of the episode, pays the step since the reset, ends after three steps."""

    batch, actions, width, length = 2, 2, 1, 3

    def __init__(self, *, limit: bool):
        self.limit = limit  # whether the end is a time limit's

    def reset(self, generator):
        self.count = 0
        return torch.zeros(2, 1)

    def step(self, action):
        self.count += 1
        done = torch.full((2,), self.count % 3 == 0)
        final = torch.full((2, 1), float((self.count - 1) % 3 + 1))
        observation = final * ~done[:, None]
        reward = torch.full((2,), float(self.count))
        return Step(observation, reward, done, Nothing(), final, done if self.limit else None)


def agent(inputs=1, actions=2):
    torch.manual_seed(0)
    made = ActorCritic(inputs, actions, TINY)
    for parameter in made.parameters():
        if not parameter.any():  # a new agent makes nothing of its memory, and expects nothing
            torch.nn.init.normal_(parameter)
    torch.nn.init.constant_(made.critic.bias, 5.0)
    return made


def config(**settings):
    return TrainingConfig(**{"environments": 2, "minibatches": 1, "segment": 4, **settings})


def plain_loop(reward, value, done, last, discount, trace):
    """By the definition: a sum of surprises from every step on, until its episode ends."""
    found = torch.zeros_like(reward)
    batch, steps = reward.shape
    for b in range(batch):
        for t in range(steps):
            weight = 1.0
            for k in range(t, steps):
                after = last[b] if k == steps - 1 else value[b, k + 1]
                after = torch.zeros(()) if done[b, k] else after
                found[b, t] += weight * (reward[b, k] + discount * after - value[b, k])
                weight *= discount * trace
                if done[b, k]:
                    break
    return found


@pytest.mark.parametrize(("discount", "trace"), [(0.9, 0.8), (1.0, 1.0), (0.5, 0.0), (0.0, 0.9)])
def test_advantages_are_those_of_the_definition(discount, trace):
    reward, value = torch.rand(2, 3, 7, dtype=torch.float64)
    done, last = torch.rand(3, 7) < 0.3, torch.rand(3, dtype=torch.float64)
    assert done.any()
    found = advantages(reward, value, done, last, discount, trace)
    torch.testing.assert_close(found, plain_loop(reward, value, done, last, discount, trace))


def test_advantages_by_hand():
    reward, value = torch.tensor([[1.0, 0.0, 2.0]]), torch.tensor([[0.5, 1.0, 1.5]])
    done, last = torch.tensor([[False, True, False]]), torch.tensor([4.0])
    # Step 3: 2 + .5 * 4 - 1.5 = 2.5. Step 2, the last one: 0 - 1 = -1.
    # Step 1: 1 + .5 * 1 - .5 = 1, and .5 * .5 * (-1).
    found = advantages(reward, value, done, last, discount=0.5, trace=0.5)
    assert found.tolist() == [[0.75, -1.0, 2.5]]


def test_what_is_told_comes_a_step_later():
    collector = Collector(agent(), Clock(limit=False), seeded(), config(segment=5))
    rollout = collector.collect()
    assert rollout.seen.observation[0, :, 0].tolist() == [0, 1, 2, 0, 1]
    assert rollout.seen.reward[0].tolist() == [0, 1, 2, 3, 4]
    assert rollout.seen.done[0].tolist() == [True, False, False, True, False]
    assert torch.equal(rollout.seen.action[:, 1:], rollout.action[:, :-1])
    assert rollout.fresh[0].tolist() == [True, False, False, True, False]
    assert collector.returns == [6.0, 6.0]

    then = collector.collect()
    assert then.seen.observation[0, :, 0].tolist() == [2, 0, 1, 2, 0]
    assert then.seen.reward[0].tolist() == [5, 6, 7, 8, 9]
    assert torch.equal(then.seen.action[:, 0], rollout.action[:, -1])


def test_several_episodes_of_a_task():
    collector = Collector(agent(), Clock(limit=False), seeded(), config(segment=10, episodes=2))
    rollout = collector.collect()
    assert rollout.seen.done[0].nonzero().flatten().tolist() == [0, 3, 6, 9]
    assert rollout.fresh[0].nonzero().flatten().tolist() == [0, 6]


def values_after(network, rollout):
    """What the critic says of every step when the segment is judged at once."""
    with torch.no_grad():
        judged, _ = network(rollout.seen, rollout.state.clone(), fresh=rollout.fresh)
    return judged


def test_judged_at_once_as_step_by_step():
    environment = TensorVectorEnv(CardSorting(length=5), 4)
    network = agent(environment.width, environment.actions)
    collector = Collector(network, environment, seeded(), config(environments=4, segment=7))
    for _ in range(3):  # the state is carried from segment to segment
        rollout = collector.collect()
        judged = values_after(network, rollout)
        taken = judged.logits.log_softmax(-1).gather(-1, rollout.action[..., None]).squeeze(-1)
        torch.testing.assert_close(taken, rollout.log_probability, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(
            rollout.target - rollout.advantage, judged.value, rtol=1e-4, atol=1e-4
        )


@pytest.mark.parametrize("limit", [False, True])
def test_only_an_end_that_is_none_is_worth_what_would_follow(limit):
    network = agent()
    settings = config(segment=3, discount=0.5, trace=0.0)
    rollout = Collector(network, Clock(limit=limit), seeded(), settings).collect()
    if not limit:
        assert rollout.target[:, 2].tolist() == pytest.approx([3.0, 3.0])  # the last reward alone
        return
    # What the critic says after one more step, in the same episode, with that reward told.
    more = [
        torch.cat([old, new], 1)
        for old, new in zip(
            rollout.seen,
            (
                torch.full((2, 1, 1), 3.0),
                rollout.action[:, 2:],
                torch.full((2, 1), 3.0),
                torch.zeros(2, 1, dtype=torch.bool),
            ),
            strict=True,
        )
    ]
    judged, _ = network(type(rollout.seen)(*more))
    expected = 3.0 + 0.5 * judged.value[:, 3]
    torch.testing.assert_close(rollout.target[:, 2], expected.detach(), rtol=1e-4, atol=1e-4)
    assert (expected - 3.0).abs().min() > 0.1


def test_a_scaled_reward():
    network = agent()
    found = [
        Collector(network, Clock(limit=False), seeded(), settings).collect()
        for settings in (config(trace=0.0), config(trace=0.0, reward_scale=0.1))
    ]
    less = torch.tensor([1.0, 2.0, 3.0, 4.0]) * 0.9
    torch.testing.assert_close(found[0].advantage - found[1].advantage, less.expand(2, 4))
    assert torch.equal(found[0].seen.reward, found[1].seen.reward)  # what it is told is not
