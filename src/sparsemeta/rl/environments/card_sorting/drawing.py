"""Card sorting drawn: the key cards, the card to be sorted, the rule and the streak."""

from math import cos, pi, sin
from typing import Any

import numpy as np

from sparsemeta.errors import require_installed
from sparsemeta.rl.environments.card_sorting.rules import RULES, CardState
from sparsemeta.rl.environments.registry import Drawing, Outcome

COLOURS = dict(red=(204, 51, 51), green=(34, 139, 69), yellow=(230, 171, 2), blue=(38, 92, 190))
SHADES = list(COLOURS.values())
FORMS = ("triangle", "star", "cross", "circle")
CARD, SYMBOL, GAP = 96, 32, 12  # pixels of a side
TABLE, PAPER, INK = (222, 226, 230), (255, 255, 255), (60, 60, 60)
NEAR, MIDDLE, FAR = GAP, (CARD - SYMBOL) // 2, CARD - SYMBOL - GAP
PLACES = (  # of one to four symbols on a card: x, y
    [(MIDDLE, MIDDLE)],
    [(NEAR, NEAR), (FAR, FAR)],
    [(NEAR, NEAR), (FAR, NEAR), (MIDDLE, FAR)],
    [(NEAR, NEAR), (FAR, NEAR), (NEAR, FAR), (FAR, FAR)],
)
KEYS = [(key, key, key) for key in range(4)]


class CardDrawing(Drawing):
    """The table of the first session, in words and pictures; whoever looks is told the rule."""

    modes = ("rgb_array", "ansi")

    def text(self, state: CardState) -> str:
        """The key cards, and below them the card to be sorted, the rule and the streak."""
        card, rule, streak = _first(state)
        keys = "   ".join(f"[{index}] {_name(key)}" for index, key in enumerate(KEYS))
        return f"{keys}\nsort: {_name(card)}   rule: {RULES[rule]}   streak: {streak}\n"

    def told(self, outcome: Outcome) -> str:
        """Which key card was chosen, and whether it was the right one."""
        return f"chosen: [{outcome.action}]   {'right' if outcome.reward > 0 else 'wrong'}\n"

    def picture(self, state: CardState, outcome: Outcome | None = None) -> np.ndarray:
        """Key cards above, the card to be sorted below.

        Beside that: the rule in force (colours, forms, or one to four strokes) and a square for
        every correct choice of the streak. A bar under the key card that was chosen is green if it
        was right, else red.
        """
        require_installed("PIL", "rl")
        from PIL import Image, ImageDraw

        card, rule, streak = _first(state)
        image = Image.new("RGB", (5 * GAP + 4 * CARD, 3 * GAP + 2 * CARD), TABLE)
        draw = ImageDraw.Draw(image)
        below = right = 2 * GAP + CARD
        for index, key in enumerate(KEYS):
            _card(draw, key, GAP + index * (CARD + GAP), GAP)
            _sign(draw, rule, index, right + index * (SYMBOL + GAP), below)
        _card(draw, card, GAP, below)
        for index in range(min(streak, 12)):
            x, y = right + index * (GAP + GAP // 2), below + SYMBOL + 2 * GAP
            draw.rectangle(_box(x, y, GAP, GAP), INK)
        if outcome:
            colour = COLOURS["green" if outcome.reward > 0 else "red"]
            left = GAP + outcome.action * (CARD + GAP)
            draw.rectangle(_box(left, GAP + CARD, CARD, GAP // 2), colour)
        return np.asarray(image)


def _first(state: CardState) -> tuple[tuple[int, int, int], int, int]:
    colour, form, number = state.card[0].tolist()
    return (colour, form, number), int(state.rule[0]), int(state.streak[0])


def _name(card: tuple[int, int, int]) -> str:
    colour, form, number = card
    plural = "" if number == 0 else "es" if FORMS[form] == "cross" else "s"
    return f"{number + 1} {list(COLOURS)[colour]} {FORMS[form]}{plural}"


def _card(draw: Any, card: tuple[int, int, int], x: int, y: int) -> None:
    """A card: one to four symbols on paper."""
    colour, form, number = card
    draw.rectangle(_box(x, y, CARD, CARD), PAPER)
    for across, down in PLACES[number]:
        _symbol(draw, form, x + across, y + down, SHADES[colour])


def _sign(draw: Any, rule: int, index: int, x: int, y: int) -> None:
    """The index-th of the four signs that stand for a rule."""
    if RULES[rule] == "colour":
        draw.rectangle(_box(x, y, SYMBOL, SYMBOL), SHADES[index])
    elif RULES[rule] == "form":
        _symbol(draw, index, x, y, INK)
    else:
        for stroke in range(index + 1):
            draw.rectangle(_box(x + 2 + 8 * stroke, y + 4, 4, SYMBOL - 8), INK)


def _symbol(draw: Any, form: int, x: int, y: int, colour: tuple[int, int, int]) -> None:
    """A triangle, star, cross or circle in a square of `SYMBOL` pixels."""
    if FORMS[form] == "circle":
        draw.ellipse(_box(x, y, SYMBOL, SYMBOL), colour)
    elif FORMS[form] == "cross":
        width = SYMBOL // 3
        draw.rectangle(_box(x, y + width, SYMBOL, SYMBOL - 2 * width), colour)
        draw.rectangle(_box(x + width, y, SYMBOL - 2 * width, SYMBOL), colour)
    else:
        corners = [(0.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]  # of the triangle
        if FORMS[form] == "star":
            turns = [(1.0 if n % 2 == 0 else 0.4, n * pi / 5) for n in range(10)]
            corners = [(radius * sin(turn), -radius * cos(turn)) for radius, turn in turns]
        half = (SYMBOL - 1) / 2
        draw.polygon([(x + half * (1 + a), y + half * (1 + b)) for a, b in corners], colour)


def _box(x: int, y: int, width: int, height: int) -> tuple[int, int, int, int]:
    """The corners of a rectangle, both within it, as Pillow has them."""
    return x, y, x + width - 1, y + height - 1
