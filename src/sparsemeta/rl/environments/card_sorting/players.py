"""Who sorts cards, and what card sorting says of itself."""

from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from sparsemeta.rl.environments.base import Agent, Record, VectorEnv, chance, rules_of
from sparsemeta.rl.environments.card_sorting.drawing import CardDrawing
from sparsemeta.rl.environments.card_sorting.rules import CardSorting, CardSortingStrict, recovery
from sparsemeta.rl.environments.registry import Curve, EnvironmentSpec

ENOUGH = 30  # switches that a player must have met for a curve: shares of fewer say nothing
TIE = 1e-4  # of two keys equally probable, that of the likelier rule: it costs no streak in vain


class IdealObserver(Agent):
    r"""Exact Bayesian filter over rule and streak; it chooses the most probable key card.

    With $p(r, s)$ the probability that the rule is r and s choices in a row were correct, and
    $h_s = P(K = s \mid K \ge s)$, a correct choice takes $p(r, s)$, where r is consistent with it,
    to $(1 - h_{s+1}) p(r, s)$ at (r, s + 1) and the rest to the next rules at streak 0; a wrong one
    takes it to (r, 0). The criterion K is drawn anew for every category, so that $h$ says all about
    it. Of keys equally probable it takes that of the likeliest rule. It is greedy, and not the
    optimum: with ties broken the other way, which delays the next switch, it errs less (13.25).
    """

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Believe what is true of every session."""
        rules, device = rules_of(environment, CardSorting), generator.device
        fewest, most = rules.criterion
        streak = torch.arange(1, most + 1, device=device)
        self._hazard = torch.where(streak < fewest, 0.0, 1 / (most + 1 - streak))  # (most,)
        self._prior = torch.zeros(3, most, device=device)
        self._prior[:, 0], self._next = _rule_course(rules, device)
        self._belief = self._prior.expand(environment.batch, 3, most)

    def act(self, observation: Tensor) -> Tensor:
        """The most probable key card, (B,)."""
        return _best_key(observation, self._belief.sum(-1))

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Filter by whether the choice was correct."""
        correct = reward > 0
        belief = self._belief * _consistent(observation, action, correct)[..., None]
        grown = belief * (1 - self._hazard)
        switched = (belief * self._hazard).sum(-1) @ self._next
        counted = torch.cat([switched[..., None], grown[..., :-1]], dim=-1)
        failed = pad(belief.sum(-1, keepdim=True), (0, belief.shape[-1] - 1))
        belief = torch.where(correct[:, None, None], counted, failed)
        belief = belief / belief.sum((1, 2), keepdim=True)
        self._belief = torch.where(done[:, None, None], self._prior, belief)


class NoCount(Agent):
    """A Bayesian observer that thinks a switch equally likely, by its hazard, at every trial."""

    def __init__(self, hazard: float = 0.05):
        self._hazard = hazard

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Believe what is true of every session's first rule."""
        rules = rules_of(environment, CardSorting)
        self._prior, self._next = _rule_course(rules, generator.device)
        self._belief = self._prior.expand(environment.batch, 3)

    def act(self, observation: Tensor) -> Tensor:
        """The most probable key card, (B,)."""
        return _best_key(observation, self._belief)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Filter by whether the choice was correct."""
        belief = self._belief * _consistent(observation, action, reward > 0)
        belief = belief / belief.sum(1, keepdim=True)
        belief = torch.lerp(belief, belief @ self._next, self._hazard)
        self._belief = torch.where(done[:, None], self._prior, belief)


class WinStayLoseShift(Agent):
    """Sorts by one rule until it is wrong, then by another one at random."""

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Begin with a rule at random."""
        self._chance = chance(generator)
        self._rule = torch.randint(3, (environment.batch,), **self._chance)

    def act(self, observation: Tensor) -> Tensor:
        """The key card that the rule says, (B,)."""
        return _card(observation).gather(1, self._rule[:, None]).squeeze(1)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Shift where the choice was wrong."""
        turn = torch.randint(1, 3, self._rule.shape, **self._chance)
        self._rule = torch.where(reward > 0, self._rule, (self._rule + turn) % 3)


def _rule_course(rules: CardSorting, device: torch.device) -> tuple[Tensor, Tensor]:
    """The probability (3,) of each rule at the beginning, and (3, 3) of the next one after each."""
    same = torch.eye(3, device=device)
    if rules.order == "cycle":
        return same[0], same.roll(1, 1)
    return torch.tensor([1 / 3] * 3, device=device), (1 - same) / 2


def _card(observation: Tensor) -> Tensor:
    """Colour, form and number of the card that is seen, (B, 3)."""
    return observation[:, :12].unflatten(1, (3, 4)).argmax(-1)


def _consistent(observation: Tensor, action: Tensor, correct: Tensor) -> Tensor:
    """Which rules (B, 3) say what was told about the choice."""
    return (_card(observation) == action[:, None]) == correct[:, None]


def _best_key(observation: Tensor, belief: Tensor) -> Tensor:
    """The key card (B,) most probably correct, given the probability (B, 3) of the rules."""
    keys, weight = belief.new_zeros(len(belief), 4), belief + TIE * belief.square()
    return keys.scatter_add(1, _card(observation), weight).argmax(1)


def _recovery(record: Record, counted: Tensor) -> Tensor:
    found = recovery(record)
    return found if record.info.completed.sum() >= ENOUGH else found[:0]


CARD_SORTING = EnvironmentSpec(
    CardSorting,
    rivals={
        "ideal observer": IdealObserver,
        "not counting": NoCount,
        "win-stay-lose-shift": WinStayLoseShift,
    },
    measures=lambda record: {
        "errors": 1 - record.reward,
        "perseverative": record.info.perseverative,
        "categories": record.info.completed,
    },
    curve=Curve(
        title="errors by trial after a switch",
        x="trial after a switch of the rule",
        y="probability of an error",
        points=_recovery,
        ticks=("1", "2", "3", "4", "5"),
    ),
    drawing=CardDrawing(),
)
CARD_SORTING_STRICT = replace(CARD_SORTING, rules=CardSortingStrict)
