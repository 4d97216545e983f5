"""Card sorting drawn: the key cards, the card to be sorted, the rule and the streak."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sparsemeta.rl.environments.card_sorting import RULES, CardState

Image = NDArray[np.uint8]

COLOURS = {
    "red": (204, 51, 51),
    "green": (34, 139, 69),
    "yellow": (230, 171, 2),
    "blue": (38, 92, 190),
}
FORMS = ("triangle", "star", "cross", "circle")
CARD = 96  # pixels of a side
SYMBOL = 32
GAP = 12
TABLE, PAPER, INK = (222, 226, 230), (255, 255, 255), (60, 60, 60)
KEYS = [(key, key, key) for key in range(4)]


def text(state: CardState) -> str:
    """The table of the first session in words; whoever reads it is told the rule.

    Args:
        state: of B sessions.

    Returns:
        Two lines.
    """
    card, rule, streak = _first(state)
    keys = "   ".join(f"[{index}] {_name(key)}" for index, key in enumerate(KEYS))
    return f"{keys}\nsort: {_name(card)}   rule: {RULES[rule]}   streak: {streak}\n"


def picture(state: CardState) -> Image:
    """The table of the first session: key cards above, the card to be sorted below.

    Beside that: the rule in force (colours, forms, or one to four strokes) and a square for every
    correct choice of the streak.

    Args:
        state: of B sessions.

    Returns:
        (height, width, 3).
    """
    card, rule, streak = _first(state)
    image = np.full((3 * GAP + 2 * CARD, 5 * GAP + 4 * CARD, 3), TABLE, np.uint8)
    below = 2 * GAP + CARD
    for index, key in enumerate(KEYS):
        _paste(image, _card(key), GAP, GAP + index * (CARD + GAP))
    _paste(image, _card(card), below, GAP)
    right = 2 * GAP + CARD
    for index in range(4):
        _paste(image, _sign(rule, index), below, right + index * (SYMBOL + GAP))
    square = np.full((GAP, GAP, 3), INK, np.uint8)
    for index in range(min(streak, 12)):
        _paste(image, square, below + SYMBOL + 2 * GAP, right + index * (GAP + GAP // 2))
    return image


def mark(image: Image, key: int, *, right: bool) -> Image:
    """A picture with a bar under the key card that was chosen: green if it was right, else red."""
    image = image.copy()
    bar = np.full((GAP // 2, CARD, 3), COLOURS["green" if right else "red"], np.uint8)
    _paste(image, bar, GAP + CARD, GAP + key * (CARD + GAP))
    return image


def _first(state: CardState) -> tuple[tuple[int, int, int], int, int]:
    colour, form, number = state.card[0].tolist()
    return (colour, form, number), int(state.rule[0]), int(state.streak[0])


def _name(card: tuple[int, int, int]) -> str:
    colour, form, number = card
    plural = "" if number == 0 else "es" if FORMS[form] == "cross" else "s"
    return f"{number + 1} {list(COLOURS)[colour]} {FORMS[form]}{plural}"


def _card(card: tuple[int, int, int]) -> Image:
    """A card: one to four symbols on paper."""
    colour, form, number = card
    image = np.full((CARD, CARD, 3), PAPER, np.uint8)
    near, middle, far = GAP, (CARD - SYMBOL) // 2, CARD - SYMBOL - GAP
    places = [
        [(middle, middle)],
        [(near, near), (far, far)],
        [(near, near), (near, far), (far, middle)],
        [(near, near), (near, far), (far, near), (far, far)],
    ]
    for top, left in places[number]:
        _paste(image, _symbol(form, list(COLOURS.values())[colour], PAPER), top, left)
    return image


def _sign(rule: int, index: int) -> Image:
    """The index-th of the four signs that stand for a rule."""
    if RULES[rule] == "colour":
        return np.full((SYMBOL, SYMBOL, 3), list(COLOURS.values())[index], np.uint8)
    if RULES[rule] == "form":
        return _symbol(index, INK, TABLE)
    image = np.full((SYMBOL, SYMBOL, 3), TABLE, np.uint8)
    for stroke in range(index + 1):
        image[4:-4, 2 + 8 * stroke : 6 + 8 * stroke] = INK
    return image


def _symbol(form: int, colour: tuple[int, int, int], ground: tuple[int, int, int]) -> Image:
    """A triangle, star, cross or circle."""
    y, x = np.mgrid[-1 : 1 : SYMBOL * 1j, -1 : 1 : SYMBOL * 1j]
    radius, angle = np.hypot(x, y), np.arctan2(x, -y)  # from the top, clockwise
    inside = (
        np.abs(x) <= (y + 1) / 2,
        radius <= _star(angle),
        np.minimum(np.abs(x), np.abs(y)) <= 0.3,
        radius <= 1,
    )[form]
    return np.where(inside[..., None], colour, ground).astype(np.uint8)


def _star(angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """The radius of a star of five points in each direction from its middle."""
    turn = np.abs((angle + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)  # from the nearest point
    tip, notch = 1.0, 0.4
    across = np.sin(np.pi / 5) * tip * notch
    return across / (tip * np.sin(turn) + notch * np.sin(np.pi / 5 - turn))


def _paste(image: Image, part: Image, top: int, left: int) -> None:
    image[top : top + part.shape[0], left : left + part.shape[1]] = part
