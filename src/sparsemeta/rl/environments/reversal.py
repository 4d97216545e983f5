"""The reversal bandit: two arms that change places, and two who play it."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Generator, Tensor

from sparsemeta.config import Count, Settings, Within
from sparsemeta.errors import require
from sparsemeta.rl.environments.base import Agent, Turn, VectorEnv, chance, rules_of
from sparsemeta.rl.environments.registry import EnvironmentSpec

Probability = Annotated[float, Within(0, 1)]


class ReversalState(NamedTuple):
    """B episodes: the better arm (B,) int64, and trials done (B,) int64."""

    better: Tensor
    trial: Tensor


class ReversalInfo(NamedTuple):
    """About one trial: whether the better arm was pulled, (B,) bool."""

    correct: Tensor


@dataclass(frozen=True)
class ReversalBandit(Settings, section="reversal"):
    """Two arms, one that pays 1 more often than the other; they may change places before a trial.

    There is nothing to see: the observation is one zero.

    Rewards in 100 trials with the hazard .02, .05, .1: ideal observer 74.05, 69.97, 65.73; at .05
    win-stay-lose-shift 66.1, uniform 50, one who knows the better arm 80.
    """

    hazard: Probability = 0.05
    """Probability of a reversal, per trial."""
    high: Probability = 0.8
    """Probability of a reward from the better arm."""
    low: Probability = 0.2
    """Probability of a reward from the other."""
    length: Count = 100
    """Trials (T)."""

    actions = 2
    width = 1

    def check(self) -> None:
        """Raise `ConfigError` unless one arm is the better one."""
        told = f"reversal.low = {self.low} must lie below reversal.high = {self.high}"
        require(self.low < self.high, told)

    def start(self, batch: int, generator: Generator) -> ReversalState:
        """Draw the better arm of B episodes."""
        better = torch.randint(2, (batch,), **chance(generator))
        return ReversalState(better, torch.zeros_like(better))

    def observe(self, state: ReversalState) -> Tensor:
        """Nothing, (B, 1) float32."""
        return state.trial.new_zeros(len(state.trial), 1, dtype=torch.float32)

    def advance(self, state: ReversalState, action: Tensor, generator: Generator) -> Turn:
        """Pull the arms (B,)."""
        paid, reversed_ = torch.rand(2, len(action), **chance(generator)).unbind(0)
        correct = action == state.better
        reward = (paid < torch.where(correct, self.high, self.low)).float()
        better = state.better ^ (reversed_ < self.hazard)  # before the next trial
        state = ReversalState(better, state.trial + 1)
        return Turn(state, reward, state.trial == self.length, ReversalInfo(correct))


class ReversalObserver(Agent):
    r"""Exact Bayesian filter over which arm is better; it pulls the one that probably is.

    $b' = \frac{b \, l_1}{b \, l_1 + (1 - b) \, l_0}$ with the likelihoods l of the reward, then
    $b = (1 - h) b' + h (1 - b')$.
    """

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Believe what is true of every episode."""
        self._rules = rules_of(environment, ReversalBandit)
        self._belief = torch.full((environment.batch,), 0.5, device=generator.device)

    def act(self, observation: Tensor) -> Tensor:
        """The arm more probably better, (B,)."""
        return (self._belief > 0.5).long()

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Filter by the reward."""
        correct = torch.stack([action == 0, action == 1])  # if the first arm, or the second, is
        paid = torch.where(correct, self._rules.high, self._rules.low)
        first, second = torch.where(reward > 0, paid, 1 - paid)
        second = self._belief * second
        belief = second / (second + (1 - self._belief) * first)
        belief = torch.lerp(belief, 1 - belief, self._rules.hazard)
        self._belief = torch.where(done, 0.5, belief)


class ReversalWinStay(Agent):
    """Win-stay-lose-shift: pulls an arm until it does not pay, then the other."""

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Begin with the first arm, which is as good as any."""
        self._arm = torch.zeros(environment.batch, dtype=torch.int64, device=generator.device)

    def act(self, observation: Tensor) -> Tensor:
        """The arm that it stays with, (B,)."""
        return self._arm

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Shift where nothing was paid."""
        self._arm = torch.where(reward > 0, action, 1 - action)


REVERSAL_BANDIT = EnvironmentSpec(
    ReversalBandit,
    rivals={"ideal observer": ReversalObserver, "win-stay-lose-shift": ReversalWinStay},
    measures=lambda record: {"better arm": record.info.correct},
)
