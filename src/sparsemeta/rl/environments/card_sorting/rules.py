"""Wisconsin card sorting: find the rule, keep to it, and notice when it changes."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from sparsemeta.config import Count, Settings
from sparsemeta.errors import require
from sparsemeta.rl.environments.base import Record, Turn, chance, pick

RULES = ("colour", "form", "number")
DECK = 64  # every colour with every form and number


class CardState(NamedTuple):
    """B sessions of card sorting: what is drawn at their beginning, and how far they are.

    Key card k has the k-th colour, form and number.
    """

    deck: Tensor  # (B, T + 1, 3) int64, colour, form and number, 0 to 3, of every card to come
    rules: Tensor  # (B, C) int64, the rule of every category to come
    criteria: Tensor  # (B, C) int64, the correct choices in a row that complete it
    trial: Tensor  # (B,) int64, trials done
    category: Tensor  # (B,) int64, categories completed
    streak: Tensor  # (B,) int64, correct choices in a row in the current category
    since: Tensor  # (B,) int64, trials in it
    matched: Tensor  # (B, 3) bool, in what the last card was like the key card chosen

    @property
    def card(self) -> Tensor:
        """The card to be sorted, (B, 3) int64."""
        return pick(self.deck, self.trial)

    @property
    def rule(self) -> Tensor:
        """The rule in force, (B,) int64, an index of `RULES`."""
        return pick(self.rules, self.category)


class CardInfo(NamedTuple):
    """About one trial.

    The first perseverative error after a switch is unavoidable. (Heaton's rules for ambiguous cards
    are not applied.)
    """

    perseverative: Tensor  # (B,) bool, wrong now and right under the rule before
    category: Tensor  # (B,) int64, categories completed before it
    since: Tensor  # (B,) int64, trials in the current category before it
    completed: Tensor  # (B,) bool, whether it completed that


@dataclass(frozen=True)
class CardSorting(Settings, section="card_sorting"):
    """Sort each card to one of four key cards, by a rule that is only told right from wrong.

    The rule is colour, form or number. It changes, unannounced, when so many choices in a row were
    correct. The reward is 1 for a correct choice. Seen are the card (three times one of four) and
    in which of the three respects the last one was like the key card chosen: features whose
    products an agent would have to learn first.

    With the criterion drawn from 6 to 12 and a random next rule, counting does not replace
    learning. Errors in 128 trials, of agents in `players.py`: greedy ideal observer 13.56
    (perseverative 9.8; 11.3 categories), the same without counting 15.64, win-stay-lose-shift
    22.1, uniform 96.
    After a switch the ideal observer errs with probability .67, .33, .08, .02.

    Of people, on forms like `CardSortingStrict`: 37.9 errors (s.d. 17.6) and 19.7 perseverative
    errors (10.0) of 207 in 128 trials (Fox et al. 2013, PLoS ONE 8, e63885).
    """

    length: Count = 128
    """Trials (T)."""
    criterion: tuple[Count, Count] = (6, 12)
    """Fewest and most correct choices in a row that complete a category; drawn for each."""
    order: Literal["random", "cycle"] = "random"
    """random: any other rule may follow, and any be first; cycle: colour, form, number, colour."""
    categories: Count | None = None
    """The session is over when so many are complete; None for never."""
    decks: bool = False
    """Whether the cards come from shuffled decks of all 64, one after another, or independently."""

    actions = 4
    width = 15

    def check(self) -> None:
        """Raise `ConfigError` where there is no such criterion or order."""
        require(
            len(self.criterion) == 2 and self.criterion[0] <= self.criterion[1],
            f"card_sorting.criterion = {self.criterion} must be the fewest and the most correct "
            "choices in a row",
        )
        told = f"card_sorting.order = {self.order!r} must be 'random' or 'cycle'"
        require(self.order in ("random", "cycle"), told)

    def start(self, batch: int, generator: Generator) -> CardState:
        """Draw B sessions: all cards, rules and criteria to come."""
        fewest, most = self.criterion
        shape = (batch, self.length // fewest + 1)
        if self.order == "random":
            turns = torch.randint(1, 3, shape, **chance(generator))
            turns[:, 0] = torch.randint(3, (batch,), **chance(generator))
        else:
            turns = torch.ones(shape, dtype=torch.int64, device=generator.device)
            turns[:, 0] = 0
        deck = self._deal(batch, generator)
        criteria = torch.randint(fewest, most + 1, shape, **chance(generator))
        none = torch.zeros_like(turns[:, 0])
        matched = none.new_zeros(batch, 3, dtype=torch.bool)
        return CardState(deck, turns.cumsum(1) % 3, criteria, none, none, none, none, matched)

    def observe(self, state: CardState) -> Tensor:
        """The card, and what the last one and its key card had in common: (B, 15) float32."""
        return torch.cat([one_hot(state.card, 4).flatten(1), state.matched], dim=1).float()

    def advance(self, state: CardState, action: Tensor, generator: Generator) -> Turn:
        """Sort the cards to key cards (B,)."""
        matched = state.card == action[:, None]
        correct = pick(matched, state.rule)
        before = pick(state.rules, (state.category - 1).clamp(min=0))
        perseverative = ~correct & pick(matched, before)  # never in the first category
        streak = (state.streak + 1) * correct
        switch = streak == pick(state.criteria, state.category)
        info = CardInfo(perseverative, state.category, state.since, completed=switch)
        state = state._replace(
            trial=state.trial + 1,
            category=state.category + switch,
            streak=streak * ~switch,
            since=(state.since + 1) * ~switch,
            matched=matched,
        )
        done = state.trial == self.length
        if self.categories is not None:
            done = done | (state.category == self.categories)
        return Turn(state, correct.float(), done, info)

    def _deal(self, batch: int, generator: Generator) -> Tensor:
        """The cards of B sessions, and one that is only seen when all is over."""
        count = self.length + 1
        if not self.decks:
            return torch.randint(4, (batch, count, 3), **chance(generator))
        decks = torch.rand(batch, -(-count // DECK), DECK, **chance(generator))
        card = decks.argsort(-1).flatten(1)[:, :count, None]
        return card // card.new_tensor([16, 4, 1]) % 4


@dataclass(frozen=True)
class CardSortingStrict(CardSorting):
    """The published form: 10 in a row, colour, form, number, two decks, over after 6 categories."""

    criterion: tuple[Count, Count] = (10, 10)
    order: Literal["random", "cycle"] = "cycle"
    categories: Count | None = 6
    decks: bool = True


def recovery(record: Record, trials: int = 5) -> Tensor:
    """The probability (trials,) float32 of an error by trial after a switch of the rule."""
    later, errors = record.info.category > 0, 1 - record.reward
    return torch.stack([errors[later & (record.info.since == n)].mean() for n in range(trials)])
