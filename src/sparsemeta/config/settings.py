"""`Settings`: frozen dataclasses whose fields declare their bounds; a docstring is its help."""

import dataclasses
import functools
import math
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from sparsemeta.errors import require


@dataclass(frozen=True)
class Within:
    """What a number must keep to, as `Annotated[int, AtLeast(1)]` or `Within(0, 1)` declares it.

    Both bounds are included unless they are open.
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and (value < self.high if self.open_high else value <= self.high)

    def __str__(self) -> str:
        if self.high < math.inf:
            left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
            return f"must lie in {left}{self.low:g}, {self.high:g}{right}"
        if self.low == 0:
            return "must be positive" if self.open_low else "must not be negative"
        return f"must be {'above' if self.open_low else 'at least'} {self.low:g}"


AtLeast = Within
Above = functools.partial(Within, open_low=True)


class Settings:
    """A base of frozen dataclasses whose fields declare their bounds, checked when one is made.

    `class MemoryConfig(Settings, section="memory")`: errors then speak of `memory.slots`. A class
    that has more to check overrides `check`.
    """

    section: ClassVar[str] = ""

    def __init_subclass__(cls, *, section: str = "") -> None:
        cls.section = section

    def __post_init__(self) -> None:
        for name, bounds in _bounds(type(self)):
            value = getattr(self, name)
            for item in value if isinstance(value, tuple) else (value,):
                require(item is None or item in bounds, f"{self.key(name)} = {item} {bounds}")
        self.check()

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""

    def key(self, name: str) -> str:
        """What a field is called in a recipe."""
        return f"{self.section}.{name}" if self.section else name


@functools.cache
def hints(kind: Any) -> dict[str, Any]:
    """The type of each field of a dataclass, its bounds included."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@functools.cache
def _bounds(kind: type) -> tuple[tuple[str, Within], ...]:
    """The fields of a dataclass that declare bounds, and these."""
    declared = hints(kind).items()
    return tuple((name, found) for name, hint in declared for found in _declared(hint))


def _declared(hint: Any) -> Iterator[Within]:
    """The bounds in a type hint, also within a union or tuple."""
    yield from (item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Within))
    for inner in typing.get_args(hint):
        yield from _declared(inner)


Count = Annotated[int, AtLeast(1)]
"""A number of things that there must be."""
