"""Dataclasses from TOML and plain dictionaries, checked, and back."""

import dataclasses
import difflib
import inspect
import tomllib
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from sparsemeta.config.settings import hints
from sparsemeta.errors import ConfigError, require
from sparsemeta.files import write_text

T = TypeVar("T")


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
    known = hints(schema)
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {where}{near[0]}?" if near else f"valid keys: {', '.join(known)}"
            raise ConfigError(f"unknown key {where}{key}; {hint}")
    given = inspect.signature(schema).parameters.values()
    missing = [where + x.name for x in given if x.default is x.empty and x.name not in data]
    require(not missing, f"missing key {', '.join(missing)}")
    return schema(**{key: _coerce(item, known[key], where + key) for key, item in data.items()})


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
