"""The Bernoulli bandit, and the index policies that play it from counts."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from sparsemeta.config import AtLeast, Count, Settings
from sparsemeta.rl.environments.base import Agent, Turn, VectorEnv, chance, rules_of
from sparsemeta.rl.environments.registry import EnvironmentSpec

SAFE = 101  # payments of a safe arm, from 0 to 1, between which the Gittins index is interpolated

_gamma = torch._standard_gamma  # pyright: ignore  # torch.distributions.Beta takes no generator


class BanditState(NamedTuple):
    """B episodes: what the arms pay (B, K) float32, and trials done (B,) int64."""

    pays: Tensor
    trial: Tensor


class BanditInfo(NamedTuple):
    """About one trial: what it cost not to know the best arm, (B,) float32, in expectation."""

    regret: Tensor


@dataclass(frozen=True)
class BernoulliBandit(Settings, section="bandit"):
    """Arms that pay 1 with a probability of their own, uniform from 0 to 1, for a whole episode.

    Seen is which part of the trials is done: how long what is learned will be of use.

    Rewards in 100 trials of 5 arms: UCB with the bonus coefficient .2 78.0, greedy 75.9, Thompson
    sampling 75.1, uniform 50; the Gittins index here 78.7, as published 78.3. Published too: RL2
    with a GRU 78.7, SNAIL 79.1 (by the table of the reproduction lucaslingle/pytorch_rl2).
    """

    arms: Annotated[int, AtLeast(2)] = 5
    """Arms (K)."""
    length: Count = 100
    """Trials (T)."""

    width = 1

    @property
    def actions(self) -> int:
        """The number of arms."""
        return self.arms

    def start(self, batch: int, generator: Generator) -> BanditState:
        """Draw what the arms of B episodes pay."""
        pays = torch.rand(batch, self.arms, **chance(generator))
        return BanditState(pays, torch.zeros(batch, dtype=torch.int64, device=generator.device))

    def observe(self, state: BanditState) -> Tensor:
        """The part of the trials that is done, (B, 1) float32."""
        return state.trial[:, None] / self.length

    def advance(self, state: BanditState, action: Tensor, generator: Generator) -> Turn:
        """Pull the arms (B,)."""
        pays = state.pays.gather(1, action[:, None]).squeeze(1)
        paid = torch.rand(pays.shape, **chance(generator)) < pays
        regret = state.pays.amax(1) - pays
        state = state._replace(trial=state.trial + 1)
        return Turn(state, paid.float(), state.trial == self.length, BanditInfo(regret))


class Counting(Agent):
    """Pulls the arm of the highest index, which is made of counts; the first of equal ones."""

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Nothing was paid yet."""
        rules = rules_of(environment, BernoulliBandit)
        self._length, self._generator = rules.length, generator
        self._paid = torch.zeros(environment.batch, rules.arms, device=generator.device)
        self._pulls = torch.zeros_like(self._paid)

    def act(self, observation: Tensor) -> Tensor:
        """The arm of the highest index, (B,)."""
        return self.index(self._paid, self._pulls).argmax(1)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Count what the pulled arms paid."""
        pulled = torch.zeros_like(self._paid).scatter_(1, action[:, None], 1.0)
        self._paid = (self._paid + pulled * reward[:, None]) * ~done[:, None]
        self._pulls = (self._pulls + pulled) * ~done[:, None]

    @abstractmethod
    def index(self, paid: Tensor, pulls: Tensor) -> Tensor:
        """The index of every arm, from how often it paid and was pulled, (B, K)."""


class Greedy(Counting):
    """Every arm once, then the one that paid most often per pull."""

    def index(self, paid: Tensor, pulls: Tensor) -> Tensor:
        """The mean payment."""
        return torch.where(pulls == 0, torch.inf, paid / pulls)


class Thompson(Counting):
    """Each arm as often as it is probably the best: a draw from the posterior."""

    def index(self, paid: Tensor, pulls: Tensor) -> Tensor:
        """A draw from Beta(s + 1, f + 1), made of two gamma variables."""
        gamma = _gamma(torch.stack([paid + 1, pulls - paid + 1]), generator=self._generator)
        return gamma[0] / gamma.sum(0)


class UCB(Counting):
    r"""Upper confidence bound, every arm once first: $\frac{s + 1}{n + 2} + c \sqrt{\ln t / n}$.

    The textbook's bonus $c = \sqrt 2$ is far too much for 100 trials.
    """

    def __init__(self, bonus: float = 0.2):
        self._bonus = bonus

    def index(self, paid: Tensor, pulls: Tensor) -> Tensor:
        """The bound."""
        spread = (pulls.sum(1, keepdim=True).log() / pulls).sqrt()
        return torch.where(pulls == 0, torch.inf, (paid + 1) / (pulls + 2) + self._bonus * spread)


class Gittins(Counting):
    """The arm whose Gittins index for the trials that remain is the highest."""

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Compute the indices, and forget all counts."""
        super().reset(environment, generator)
        self._table = gittins_indices(self._length).to(generator.device)

    def index(self, paid: Tensor, pulls: Tensor) -> Tensor:
        """The index of each arm by its counts."""
        done = pulls.sum(1, keepdim=True).expand(pulls.shape)
        return self._table[(self._length - done).long() - 1, pulls.long(), paid.long()]


def gittins_indices(horizon: int) -> Tensor:
    r"""What a safe arm would have to pay per trial to be worth as much as an unknown one.

    With m trials left, a safe payment $\lambda$, and an arm that paid s times in n pulls,
    $p = (s + 1) / (n + 2)$,
    $$V_m(n, s) = \max\{m \lambda, \; p (1 + V_{m-1}(n + 1, s + 1)) + (1 - p) V_{m-1}(n + 1, s)\}$$
    and the index is the least $\lambda$ at which the first is the larger one. (Kaufmann 2018, On
    Bayesian index policies for sequential resource allocation; the horizon T is finite.)

    (T, T, T) float32 by m - 1, n and s; of use where s <= n <= T - m.
    """
    safe = torch.linspace(0, 1, SAFE)
    pulls, paid = torch.meshgrid(torch.arange(horizon), torch.arange(horizon), indexing="ij")
    p = ((paid + 1) / (pulls + 2)).clamp(max=1)[..., None]
    value = torch.zeros(horizon, horizon, SAFE)
    table = []
    for left in range(1, horizon + 1):
        after = pad(value, (0, 0, 0, 1, 0, 1))[1:]  # one pull more
        risk = p * (1 + after[:, 1:]) + (1 - p) * after[:, :-1]
        table.append(_root(safe, risk - left * safe))
        value = torch.maximum(left * safe, risk)
    return torch.stack(table)


def _root(safe: Tensor, gain: Tensor) -> Tensor:
    """Where a gain (..., SAFE) that falls with the safe payment is 0, linearly between points."""
    above = (gain > 0).sum(-1, keepdim=True).clamp(1, SAFE - 1)
    high, low = gain.gather(-1, above - 1), gain.gather(-1, above)
    return (safe[above - 1] + high / (high - low) / (SAFE - 1)).squeeze(-1).clamp(0, 1)


BERNOULLI_BANDIT = EnvironmentSpec(
    BernoulliBandit,
    rivals={
        "Gittins index": Gittins,
        "UCB, bonus .2": UCB,
        "greedy": Greedy,
        "Thompson sampling": Thompson,
    },
    measures=lambda record: {"regret": record.info.regret},
)
