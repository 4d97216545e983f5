"""Settings as frozen dataclasses with declared bounds, and their one way in and out of TOML.

A field's docstring is its help on the command line. Unknown keys, wrong types and values out of
bounds are errors that name the file, the key and what would be right.
"""

import dataclasses
import difflib
import functools
import inspect
import math
import tomllib
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from typing_extensions import override

from sparsemeta.errors import ConfigError, require
from sparsemeta.files import write_text

T = TypeVar("T")


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
def _hints(kind: Any) -> dict[str, Any]:
    """The type of each field of a dataclass, its bounds included."""
    hints = typing.get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(kind)}


@functools.cache
def _bounds(kind: type) -> tuple[tuple[str, Within], ...]:
    """The fields of a dataclass that declare bounds, and these."""
    hints = _hints(kind).items()
    return tuple((name, found) for name, hint in hints for found in _declared(hint))


def _declared(hint: Any) -> Iterator[Within]:
    """The bounds in a type hint, also within a union or tuple."""
    yield from (item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Within))
    for inner in typing.get_args(hint):
        yield from _declared(inner)


Count = Annotated[int, AtLeast(1)]
"""A number of things that there must be."""

AddressKind = Literal["topk", "product", "signed", "dense"]


@dataclass(frozen=True)
class MemoryConfig(Settings, section="memory"):
    """The fast-weight memory of one adapted layer."""

    slots: Count = 512
    """Slots per head (N)."""
    active: Count = 8
    """Slots that one address touches (A)."""
    heads: Count = 4
    """Independent memories side by side (H)."""
    key_width: Count = 64
    """Width of the query that is compared with the slots' keys, per head."""
    value_width: Count = 64
    """Width of what a slot holds, per head (V)."""
    addressing: AddressKind = "topk"
    """topk: the A best of N keys; product: the A best of N pairs of half-keys, for large N;
    signed: the A of N keys that fit or oppose the most, with weights of either sign, where opposite
    contexts teach opposite things; dense: all N so, the control of every comparison."""
    rule: Literal["delta", "hebbian"] = "delta"
    """delta: a write corrects what its address already recalls; hebbian: it only adds."""
    retention: bool = False
    """Whether the meta-learner may also forget: scale down the rows it is about to write."""
    initial: Literal["empty", "learned"] = "empty"
    """learned: a memory that nothing was written to recalls something too, as trained; with product
    addressing it is factorised like the keys."""
    capacity: int | None = None
    """Rows held in memory per head at most, in a table that grows with what is written. If left
    out, there is no bound, and up to 16,384 slots there is a row for every slot from the start."""
    backend: str = "auto"
    """The form of the memory's update: native, a loop compiled for CPUs; triton, kernels for
    GPUs; chunked, parallel over time; reference, a plain loop; auto takes what is fastest."""

    @override
    def check(self) -> None:
        _check_address(self)
        if self.capacity is not None:
            require(
                self.active <= self.capacity <= self.slots and self.addressing != "dense",
                f"memory.capacity = {self.capacity} must lie between memory.active = {self.active} "
                f"and memory.slots = {self.slots}, and helps with no dense addressing: that "
                "writes every slot. Leave it out to set no bound",
            )


@dataclass(frozen=True)
class RowsConfig(Settings, section="rows"):
    """Fast weights of an output layer: a row for each class that came."""

    half_lives: tuple[Annotated[float, AtLeast(0)], ...] = (70.0, 700.0, 0.0)
    """After how many steps half of a row is left, for each head; 0 never forgets."""
    key_width: Annotated[int, AtLeast(2)] = 32
    """Width of a row, per head (K)."""
    rate: Annotated[float, Within(0, 1, open_low=True, open_high=True)] = 0.5
    """How strongly a row is written before training changes it."""

    @override
    def check(self) -> None:
        require(bool(self.half_lives), "rows.half_lives names no head: name one at least")


@dataclass(frozen=True)
class TablesConfig(Settings, section="tables"):
    """Tables of what followed contexts, and the gate that mixes them into a prediction."""

    orders: tuple[Annotated[int, AtLeast(0)], ...] = (0, 1, 2, 3, 4, 6, 8, 12, 16)
    """A head for each: its context is the last n tokens."""
    fading_orders: tuple[Annotated[int, AtLeast(0)], ...] = (0, 0, 1, 3)
    """Heads of the same kind that forget, as `fading` says."""
    fading: tuple[Annotated[float, Within(0, 1)], ...] = (0.99, 0.95, 0.95, 0.8)
    """What a slot of each of those keeps of its weights when it is written."""
    bytes: tuple[Count, ...] = (1, 2, 3)
    """A head for each: its context is the last n bytes, which are more general than a token."""
    learned: tuple[Annotated[float, Within(0, 1)], ...] = ()
    """A head for each, whose context is the slots that trained keys find: what a slot keeps."""
    slots: Count = 4096
    """Slots of a learned head (N)."""
    active: Count = 8
    """Slots that it writes and reads at once (A)."""
    key_width: Count = 32
    """Width of the query that is compared with their keys."""
    addressing: Literal["topk", "product"] = "topk"
    """As `memory.addressing`."""
    capacity: Annotated[int, AtLeast(4096)] = 2**22
    """Rows held at most for each stream, of 48 bytes; beyond, what is oldest and rarest goes."""
    rate: Annotated[float, Above(0)] = 8.0
    """The gate moves by this, divided by the root of how often it was moved ..."""
    least_rate: Annotated[float, AtLeast(0)] = 0.1
    """... but never by less than this."""

    @override
    def check(self) -> None:
        require(
            len(self.fading_orders) == len(self.fading),
            f"tables.fading_orders names {len(self.fading_orders)} heads and tables.fading what "
            f"{len(self.fading)} of them keep: give one value for each",
        )
        heads = (*self.orders, *self.fading_orders, *self.bytes, *self.learned)
        require(bool(heads), "tables has no head: name some in tables.orders")
        for name in ("orders", "bytes"):
            given = getattr(self, name)
            require(
                list(given) == sorted(set(given)),
                f"tables.{name} = {list(given)} must rise: name each context once, in order",
            )
        _check_address(self)


def _check_address(config: MemoryConfig | TablesConfig) -> None:
    """Raise `ConfigError` unless slots can be found as these settings say."""
    slots, active, width = (config.key(name) for name in ("slots", "active", "key_width"))
    few = f"{active} is {config.active} but there are only {config.slots} slots ({slots})"
    require(config.active <= config.slots, few)
    side = math.isqrt(config.slots)
    require(
        config.addressing != "product" or (side**2 == config.slots and config.key_width % 2 == 0),
        f"product addressing needs a square number of slots and an even key_width, not "
        f"{slots} = {config.slots}, {width} = {config.key_width}; "
        f"the nearest squares are {side**2} and {(side + 1) ** 2}",
    )


def read_toml(path: str | Path, schema: type[T]) -> T:
    """Read a TOML file into a dataclass of dataclasses, tuples, literals and plain values.

    What it leaves out keeps its default; whatever is wrong with it is a `ConfigError`.
    """
    try:
        return from_dict(tomllib.loads(Path(path).read_text(encoding="utf-8")), schema)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}). Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def write_toml(path: str | Path, config: Any) -> None:
    """Write a dataclass as a TOML file that `read_toml` reads back equal."""
    import tomli_w

    write_text(Path(path), tomli_w.dumps(to_dict(config)))


def to_dict(config: Any) -> dict[str, Any]:
    """A dataclass as plain nested dictionaries and lists; fields that are None are left out."""
    items = ((field.name, getattr(config, field.name)) for field in dataclasses.fields(config))
    return {name: _plain(item) for name, item in items if item is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return to_dict(value) if dataclasses.is_dataclass(value) else value


def from_dict(data: dict[str, Any], schema: type[T], where: str = "") -> T:
    """Build a dataclass from nested dictionaries; unknown keys and wrong types are errors."""
    hints = _hints(schema)
    for key in data:
        if key not in hints:
            near = difflib.get_close_matches(key, hints, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"valid keys: {', '.join(hints)}"
            raise ConfigError(f"unknown key {where}{key}; {hint}")
    given = inspect.signature(schema).parameters.values()
    missing = [where + x.name for x in given if x.default is x.empty and x.name not in data]
    require(not missing, f"missing key {', '.join(missing)}")
    return schema(**{key: _coerce(item, hints[key], where + key) for key, item in data.items()})


def _coerce(value: Any, hint: Any, where: str) -> Any:
    """Check `value` against a type hint; integers pass as floats, lists become tuples."""
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_dict(value, hint, where + ".")  # type: ignore[arg-type]
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _coerce(value, choices[0], where)
    if origin in (typing.Union, types.UnionType):
        return _coerce(value, next(c for c in choices if c is not types.NoneType), where)
    if origin is Literal:
        allowed = ", ".join(map(repr, choices))
        require(value in choices, f"{where} = {value!r} is not one of {allowed}")
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(_coerce(item, choices[0], f"{where}[{i}]") for i, item in enumerate(value))
    if hint is float and type(value) is int:
        return float(value)
    if type(value) is not hint:
        name = getattr(hint, "__name__", None) if origin is None else None
        raise ConfigError(f"{where} = {value!r} should be {name or 'a list'}")
    return value
