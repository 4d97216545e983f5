"""The two-step task: does a choice repeat what paid, or what leads to where it paid?"""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from sparsemeta.config import Count, Settings, Within
from sparsemeta.rl.environments.base import Agent, Record, Turn, VectorEnv, chance, pick, rules_of
from sparsemeta.rl.environments.registry import Curve, EnvironmentSpec

BOUNDS = (0.25, 0.75)  # of what the second choices pay
GRID = 51  # values of what a choice may pay, between the bounds


class TwoStepState(NamedTuple):
    """B episodes."""

    pays: Tensor  # (B, 4) float32, what the two choices of the two second stages pay
    stage: Tensor  # (B,) int64, 0 at the first choice, 1 or 2 at a second one
    step: Tensor  # (B,) int64, choices made


class TwoStepInfo(NamedTuple):
    """About one choice."""

    stage: Tensor  # (B,) int64, that it was made at
    common: Tensor  # (B,) bool, whether a first choice led to its common stage


@dataclass(frozen=True)
class TwoStep(Settings, section="two_step"):
    """Choose one of two, come to one of two stages, choose one of two again: that one may pay 1.

    First choice k leads to stage k + 1 commonly, else to the other one. What the second choices pay
    drifts: a Gaussian random walk between .25 and .75, which reflect it. A step is one choice, so
    that an episode has two to a trial; seen is the stage. (Daw, Gershman, Seymour, Dayan and Dolan
    2011, Neuron 69: common .7, walk .025, 201 trials.)

    Model-free learners repeat a first choice after a reward, however they came to it; model-based
    ones after a reward by the common way or none by the rare one (`stay_probability`). People do
    both. Rewards per trial, measured here: model-based observer .565, model-free .53, uniform .50.
    """

    common: Annotated[float, Within(0.5, 1)] = 0.7
    """Probability that a first choice leads to its own stage."""
    walk: Annotated[float, Within(0, 0.25)] = 0.025
    """Standard deviation of the change of what a choice pays, per trial."""
    trials: Count = 201
    """Trials of an episode."""

    actions = 2
    width = 3

    @property
    def length(self) -> int:
        """Choices of an episode, two to a trial."""
        return 2 * self.trials

    def start(self, batch: int, generator: Generator) -> TwoStepState:
        """Draw what the second choices of B episodes pay at first, uniformly."""
        low, high = BOUNDS
        pays = torch.rand(batch, 4, **chance(generator))
        none = torch.zeros(batch, dtype=torch.int64, device=generator.device)
        return TwoStepState(low + (high - low) * pays, none, none)

    def observe(self, state: TwoStepState) -> Tensor:
        """The stage, (B, 3) float32, one of three."""
        return one_hot(state.stage, 3).float()

    def advance(self, state: TwoStepState, action: Tensor, generator: Generator) -> Turn:
        """Make the choices (B,)."""
        first = state.stage == 0
        luck = torch.rand(len(action), **chance(generator))
        common = first & (luck < self.common)
        pays = state.pays.gather(1, choice(state.stage, action)[:, None]).squeeze(1)
        reward = ~first & (luck < pays)
        stage = torch.where(first, 1 + (action ^ ~common), 0)
        drift = self.walk * torch.randn(state.pays.shape, **chance(generator))
        walked = torch.where(first[:, None], state.pays, reflect(state.pays + drift))
        after = TwoStepState(walked, stage, state.step + 1)
        info = TwoStepInfo(state.stage, common)
        return Turn(after, reward.float(), after.step == self.length, info)


def choice(stage: Tensor, action: Tensor) -> Tensor:
    """Which of the four second choices an action (B,) is; the first of its pair at stage 0."""
    return (2 * (stage - 1) + action).clamp(min=0)


def reflect(pays: Tensor) -> Tensor:
    """Back between the bounds, by as much as it was beyond them."""
    low, high = BOUNDS
    pays = torch.where(pays < low, 2 * low - pays, pays)
    return torch.where(pays > high, 2 * high - pays, pays)


def stay_probability(record: Record) -> Tensor:
    """How often a first choice was that of the trial before, by what came of that one.

    (2, 2) float32: [not rewarded, rewarded] by [rare, common]; of whole trials from a reset on.
    """
    first, rewarded = record.action[::2], record.reward[1::2] > 0
    came, goes_on = 2 * rewarded + record.info.common[::2], ~record.done[1::2]
    stay = (first[1:] == first[:-1]).float()
    shares = [stay[goes_on[:-1] & (came[:-1] == way)].mean() for way in range(4)]
    return torch.stack(shares).view(2, 2)


def _stays(record: Record, counted: Tensor) -> Tensor:
    """The four probabilities, or none where one is not known."""
    stays = stay_probability(record).flatten()
    return stays if stays.isfinite().all() else stays[:0]


class ModelBased(Agent):
    r"""Bayesian filter of what each second choice pays, on a grid; it chooses the best mean.

    The first choice k is worth $c \max Q(k) + (1 - c) \max Q(1 - k)$, with c the probability of
    the common way. Greedy: it does not explore.
    """

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Believe what is true of every episode."""
        rules = rules_of(environment, TwoStep)
        self._common = rules.common
        self._pays = torch.linspace(*BOUNDS, GRID, device=generator.device)
        self._walk = _walk(self._pays, rules.walk)
        self._prior = torch.full((4, GRID), 1 / GRID, device=generator.device)
        self._belief = self._prior.expand(environment.batch, 4, GRID)

    def act(self, observation: Tensor) -> Tensor:
        """The better choice, (B,)."""
        mean = (self._belief @ self._pays).view(-1, 2, 2)  # by stage and choice
        best = mean.amax(2)
        first = self._common * best + (1 - self._common) * best.flip(1)
        values = torch.cat([first[:, None], mean], dim=1)
        return pick(values, observation.argmax(1)).argmax(1)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Filter by the reward of a second choice, then by the walk."""
        stage = observation.argmax(1)
        row, chosen = torch.arange(len(stage), device=stage.device), choice(stage, action)
        likelihood = torch.where(reward[:, None] > 0, self._pays, 1 - self._pays)
        belief = self._belief.clone()
        belief[row, chosen] *= likelihood
        belief = (belief / belief.sum(-1, keepdim=True)) @ self._walk
        belief = torch.where(stage[:, None, None] == 0, self._belief, belief)
        self._belief = torch.where(done[:, None, None], self._prior, belief)


class ModelFree(Agent):
    r"""SARSA(1): the reward of a trial moves the values of both its choices; softmax.

    $Q \leftarrow Q + \alpha (r - Q)$, and a choice has probability $\propto \exp(Q / \tau)$: alpha
    is the learning rate, tau the temperature.
    """

    def __init__(self, rate: float = 0.5, temperature: float = 0.2):
        self._rate, self._temperature = rate, temperature

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Value everything one half."""
        self._generator = generator
        self._value = torch.full((environment.batch, 3, 2), 0.5, device=generator.device)
        self._first = torch.zeros(environment.batch, dtype=torch.int64, device=generator.device)

    def act(self, observation: Tensor) -> Tensor:
        """A choice at random, the more often the more it is worth, (B,)."""
        values = pick(self._value, observation.argmax(1))
        odds = (values / self._temperature).softmax(1)
        return torch.multinomial(odds, 1, generator=self._generator).squeeze(1)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Move the values of both choices of a trial, when its second one is made."""
        stage = observation.argmax(1)
        row, second = torch.arange(len(stage), device=stage.device), stage > 0
        value = self._value.clone()
        for where, chosen in ((stage, action), (torch.zeros_like(stage), self._first)):
            old = self._value[row, where, chosen]
            value[row, where, chosen] = torch.where(second, old + self._rate * (reward - old), old)
        self._first = torch.where(second, self._first, action)
        self._value = torch.where(done[:, None, None], 0.5, value)


def _walk(pays: Tensor, deviation: float) -> Tensor:
    """The probability (GRID, GRID) of what is paid next, reflected at the bounds."""
    if deviation == 0:
        return torch.eye(len(pays), device=pays.device)
    offset = torch.linspace(-4, 4, 161, device=pays.device)
    weight = (-offset.square() / 2).softmax(0)
    arrived = reflect(pays[:, None] + deviation * offset)
    index = ((arrived - pays[0]) / (pays[1] - pays[0])).round().long()
    moves = torch.zeros(len(pays), len(pays), device=pays.device)
    return moves.scatter_add_(1, index, weight.expand(index.shape))


TWO_STEP = EnvironmentSpec(
    TwoStep,
    rivals={"model-based": ModelBased, "model-free": ModelFree},
    curve=Curve(
        title="stays: unpaid rare, unpaid common, paid rare, paid common",
        x="what came of a first choice",
        y="probability that it is repeated",
        points=_stays,
        ticks=("unpaid\nrare", "unpaid\ncommon", "paid\nrare", "paid\ncommon"),
    ),
)
