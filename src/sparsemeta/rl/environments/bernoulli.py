"""The Bernoulli bandit, and the index policies that play it from counts."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from sparsemeta.config import AtLeast, Count, Settings
from sparsemeta.rl.environments.gittins import gittins_indices
from sparsemeta.rl.environments.playing import Agent
from sparsemeta.rl.environments.rules import Turn
from sparsemeta.rl.environments.spec import EnvironmentSpec
from sparsemeta.rl.environments.vector import VectorEnv, rules_of

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

    def start(self, batch: int, generator: torch.Generator) -> BanditState:
        """Draw what the arms of B episodes pay."""
        chance = {"generator": generator, "device": generator.device}
        pays = torch.rand(batch, self.arms, **chance)
        return BanditState(pays, torch.zeros(batch, dtype=torch.int64, device=generator.device))

    def observe(self, state: BanditState) -> Tensor:
        """The part of the trials that is done, (B, 1) float32."""
        return state.trial[:, None] / self.length

    def advance(
        self, state: BanditState, action: Tensor, generator: torch.Generator
    ) -> Turn[BanditState, BanditInfo]:
        """Pull the arms (B,)."""
        pays = state.pays.gather(1, action[:, None]).squeeze(1)
        paid = torch.rand(pays.shape, generator=generator, device=generator.device) < pays
        regret = state.pays.amax(1) - pays
        state = state._replace(trial=state.trial + 1)
        return Turn(state, paid.float(), state.trial == self.length, BanditInfo(regret))


class Counting(Agent):
    """Pulls the arm of the highest index, which is made of counts; the first of equal ones."""

    def reset(self, environment: VectorEnv, generator: torch.Generator) -> None:
        """Nothing was paid yet."""
        rules = rules_of(environment, BernoulliBandit)
        self._length, self._generator = rules.length, generator
        self._paid = torch.zeros(environment.batch, rules.arms, device=generator.device)
        self._missed = torch.zeros_like(self._paid)

    def act(self, observation: Tensor) -> Tensor:
        """The arm of the highest index, (B,)."""
        return self.index(self._paid, self._missed).argmax(1)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Count what the pulled arms paid."""
        pulled = torch.zeros_like(self._paid).scatter_(1, action[:, None], 1.0)
        going = ~done[:, None]
        self._paid = (self._paid + pulled * reward[:, None]) * going
        self._missed = (self._missed + pulled * (1 - reward[:, None])) * going

    @abstractmethod
    def index(self, paid: Tensor, missed: Tensor) -> Tensor:
        """The index of every arm, from how often it paid and did not, (B, K)."""


class Greedy(Counting):
    """Every arm once, then the one that paid most often per pull."""

    def index(self, paid: Tensor, missed: Tensor) -> Tensor:
        """The mean payment."""
        pulls = paid + missed
        return torch.where(pulls == 0, torch.inf, paid / pulls)


class Thompson(Counting):
    """Each arm as often as it is probably the best: a draw from the posterior."""

    def index(self, paid: Tensor, missed: Tensor) -> Tensor:
        """A draw from Beta(s + 1, f + 1), made of two gamma variables."""
        shape = torch.stack([paid + 1, missed + 1])
        gamma = _gamma(shape, generator=self._generator)
        return gamma[0] / gamma.sum(0)


class UCB(Counting):
    r"""Upper confidence bound, every arm once first: $\frac{s + 1}{n + 2} + c \sqrt{\ln t / n}$.

    Args:
        bonus: c. The textbook's $\sqrt 2$ is far too much for 100 trials.
    """

    def __init__(self, bonus: float = 0.2):
        self._bonus = bonus

    def index(self, paid: Tensor, missed: Tensor) -> Tensor:
        """The bound."""
        pulls = paid + missed
        spread = (pulls.sum(1, keepdim=True).log() / pulls).sqrt()
        return torch.where(pulls == 0, torch.inf, (paid + 1) / (pulls + 2) + self._bonus * spread)


class Gittins(Counting):
    """The arm whose Gittins index for the trials that remain is the highest."""

    def reset(self, environment: VectorEnv, generator: torch.Generator) -> None:
        """Compute the indices, and forget all counts."""
        super().reset(environment, generator)
        self._table = gittins_indices(self._length).to(generator.device)

    def index(self, paid: Tensor, missed: Tensor) -> Tensor:
        """The index of each arm by its counts."""
        pulls = paid + missed
        done = pulls.sum(1, keepdim=True).expand(pulls.shape)
        return self._table[(self._length - done).long() - 1, pulls.long(), paid.long()]


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
