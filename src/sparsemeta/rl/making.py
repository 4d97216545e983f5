"""From the environment that a recipe names to B of it side by side: ours, or any of Gymnasium's."""

import tomllib
from dataclasses import replace
from typing import Any

from sparsemeta.config import from_dict
from sparsemeta.errors import require
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import (
    REGISTRY,
    ObservationFilter,
    TensorVectorEnv,
    VectorEnv,
    find_spec,
)


def make(config: EnvironmentConfig, batch: int) -> VectorEnv:
    """B environments side by side.

    Args:
        config: which, with what settings, and what is seen of them.
        batch: B.

    Raises:
        ConfigError: there is no such environment or setting, or its spaces are of another kind.
        MissingExtra: it needs Gymnasium, which is not installed.
    """
    settings, rules = _parse(config.settings), find_spec(config.id).rules
    if rules is not None:
        env = TensorVectorEnv(from_dict(settings, rules, "environment.settings."), batch)
    else:
        require(
            not config.id.startswith("sparsemeta/"),
            f"environment.id = {config.id!r}: ours are {', '.join(REGISTRY)}",
        )
        from sparsemeta.rl.adapter import GymVectorEnv

        env = GymVectorEnv(config.id, batch, settings)
    return ObservationFilter(env, config.observe) if config.observe else env


def elsewhere(
    config: EnvironmentConfig, id: str | None = None, settings: tuple[str, ...] = ()
) -> EnvironmentConfig:
    """Where an agent is to play, if not where it was trained.

    Args:
        config: where it was trained.
        id: of another environment, which has none of the settings of the first.
        settings: what is set otherwise, each as name=value.
    """
    kept = config.settings if id in (None, config.id) else ()
    return replace(config, id=id or config.id, settings=(*kept, *settings))


def _parse(settings: tuple[str, ...]) -> dict[str, Any]:
    """Settings written as name=value, a value as TOML has it, or else a plain word."""
    found = {}
    for setting in settings:
        name, equals, value = (part.strip() for part in setting.partition("="))
        require(bool(name and equals), f"environment.settings: {setting!r} is not name=value")
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found
