"""Wisconsin card sorting: find the rule, keep to it, and notice when it changes.

rules.py    the task and its published form
players.py  its ideal observer, one that does not count, win-stay-lose-shift
drawing.py  the cards in words and pictures
"""

from torch import Tensor

from sparsemeta.rl.environments.card_sorting.drawing import CardDrawing
from sparsemeta.rl.environments.card_sorting.players import IdealObserver, NoCount, WinStayLoseShift
from sparsemeta.rl.environments.card_sorting.rules import CardSorting, CardSortingStrict, recovery
from sparsemeta.rl.environments.playing import Record
from sparsemeta.rl.environments.spec import Curve, EnvironmentSpec

ENOUGH = 30  # switches that a player must have met for a curve: shares of fewer say nothing


def _recovery(record: Record, counted: Tensor) -> Tensor:
    found = recovery(record)
    return found if record.info.completed.sum() >= ENOUGH else found[:0]


CARD_SORTING, CARD_SORTING_STRICT = (
    EnvironmentSpec(
        rules,
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
    for rules in (CardSorting, CardSortingStrict)
)
