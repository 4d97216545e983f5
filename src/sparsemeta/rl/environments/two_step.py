"""The two-step task: does a choice repeat what paid, or what leads to where it paid?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from sparsemeta.errors import require
from sparsemeta.rl.environments.environment import Turn
from sparsemeta.rl.environments.play import Record

BOUNDS = (0.25, 0.75)  # of what the second choices pay


class TwoStepState(NamedTuple):
    """B episodes.

    Attributes:
        pays: (B, 4) float32, what the two choices of the two second stages pay.
        stage: (B,) int64, 0 at the first choice, 1 or 2 at a second one.
        step: (B,) int64, choices made.
    """

    pays: Tensor
    stage: Tensor
    step: Tensor


class TwoStepInfo(NamedTuple):
    """About one choice.

    Attributes:
        stage: (B,) int64, that it was made at.
        common: (B,) bool, whether a first choice led to its common stage.
    """

    stage: Tensor
    common: Tensor


@dataclass(frozen=True)
class TwoStep:
    """Choose one of two, come to one of two stages, choose one of two again: that one may pay 1.

    First choice k leads to stage k + 1 commonly, else to the other one. What the second choices pay
    drifts: a Gaussian random walk between .25 and .75, which reflect it. A step is one choice, so
    that an episode has two to a trial; seen is the stage. (Daw, Gershman, Seymour, Dayan and Dolan
    2011, Neuron 69: common .7, walk .025, 201 trials.)

    Model-free learners repeat a first choice after a reward, however they came to it; model-based
    ones after a reward by the common way or none by the rare one (`stay_probability`). People do
    both. Rewards per trial, measured here: model-based observer .565, model-free .53, uniform .50.
    """

    common: float = 0.7
    """Probability that a first choice leads to its own stage."""
    walk: float = 0.025
    """Standard deviation of the change of what a choice pays, per trial."""
    trials: int = 201
    """Trials of an episode."""

    actions = 2
    width = 3

    def __post_init__(self) -> None:
        require(self.trials >= 1, f"two_step.trials = {self.trials} must be at least 1")
        require(
            0.5 <= self.common <= 1,
            f"two_step.common = {self.common} must be a probability of at least one half",
        )
        require(
            0 <= self.walk <= 0.25, f"two_step.walk = {self.walk} must be a deviation, 0 to 0.25"
        )

    @property
    def length(self) -> int:
        """Choices of an episode, two to a trial."""
        return 2 * self.trials

    def start(self, batch: int, generator: torch.Generator) -> TwoStepState:
        """Draw what the second choices of B episodes pay at first, uniformly."""
        low, high = BOUNDS
        pays = torch.rand(batch, 4, generator=generator, device=generator.device)
        none = torch.zeros(batch, dtype=torch.int64, device=generator.device)
        return TwoStepState(low + (high - low) * pays, none, none)

    def observe(self, state: TwoStepState) -> Tensor:
        """The stage, (B, 3) float32, one of three."""
        return one_hot(state.stage, 3).float()

    def advance(
        self, state: TwoStepState, action: Tensor, generator: torch.Generator
    ) -> Turn[TwoStepState, TwoStepInfo]:
        """Make the choices (B,)."""
        chance = {"generator": generator, "device": generator.device}
        first = state.stage == 0
        luck = torch.rand(len(action), **chance)
        common = first & (luck < self.common)
        pays = state.pays.gather(1, choice(state.stage, action)[:, None]).squeeze(1)
        reward = ~first & (luck < pays)

        stage = torch.where(first, 1 + (action ^ ~common), 0)
        drift = self.walk * torch.randn(state.pays.shape, **chance)
        walked = torch.where(first[:, None], state.pays, reflect(state.pays + drift))
        step = state.step + 1
        return Turn(
            TwoStepState(walked, stage, step),
            reward.float(),
            step == self.length,
            TwoStepInfo(state.stage, common),
        )


def choice(stage: Tensor, action: Tensor) -> Tensor:
    """Which of the four second choices an action (B,) is; the first of its pair at stage 0."""
    return (2 * (stage - 1) + action).clamp(min=0)


def reflect(pays: Tensor) -> Tensor:
    """Back between the bounds, by as much as it was beyond them."""
    low, high = BOUNDS
    pays = torch.where(pays < low, 2 * low - pays, pays)
    return torch.where(pays > high, 2 * high - pays, pays)


def stay_probability(record: Record[TwoStepInfo]) -> Tensor:
    """How often a first choice was that of the trial before, by what came of that one.

    Args:
        record: of whole trials of the two-step task, from a reset on.

    Returns:
        (2, 2) float32: [not rewarded, rewarded] by [rare, common].
    """
    first, rewarded = record.action[::2], record.reward[1::2] > 0
    common, over = record.info.common[::2], record.done[1::2]
    stay = (first[1:] == first[:-1]).float()
    counts = ~over[:-1]
    rows = [
        [stay[counts & (rewarded[:-1] == paid) & (common[:-1] == way)].mean() for way in (0, 1)]
        for paid in (0, 1)
    ]
    return torch.stack([torch.stack(row) for row in rows])
