"""From a recipe's environment to B episodes of it: one of ours, or any of Gymnasium's."""

from __future__ import annotations

import tomllib
from typing import Any

import torch
from torch import Tensor

from sparsemeta.config import from_dict, to_dict
from sparsemeta.errors import require
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import (
    STRICT,
    BernoulliBandit,
    CardSorting,
    Environment,
    GraphPOMDP,
    ReversalBandit,
    Rules,
    Step,
    TwoStep,
    World,
)

RULES: dict[str, Rules] = {
    "sparsemeta/CardSorting-v0": CardSorting(),
    "sparsemeta/CardSortingStrict-v0": STRICT,
    "sparsemeta/ReversalBandit-v0": ReversalBandit(),
    "sparsemeta/BernoulliBandit-v0": BernoulliBandit(),
    "sparsemeta/TwoStep-v0": TwoStep(),
    "sparsemeta/GraphPOMDP-v0": GraphPOMDP(),
}
"""Our environments by their Gymnasium ids."""


def make(config: EnvironmentConfig, batch: int) -> World:
    """B episodes side by side of the environment that a recipe names.

    Raises:
        ConfigError: there is no such environment or setting, or its spaces are of another kind.
        MissingExtra: it needs Gymnasium, which is not installed.
    """
    settings = _parse(config.settings)
    if config.id in RULES:
        rules = RULES[config.id]
        world = Environment(
            from_dict(to_dict(rules) | settings, type(rules), "environment.settings."), batch
        )
    else:
        require(
            not config.id.startswith("sparsemeta/"),
            f"environment.id = {config.id!r}: ours are {', '.join(RULES)}",
        )
        from sparsemeta.rl.adapter import GymWorld

        world = GymWorld(config.id, batch, settings)
    return Glimpse(world, config.observe) if config.observe else world


class Glimpse(World):
    """A world of which only some entries of an observation are shown.

    Args:
        world: the whole of it.
        shown: which entries, counted from 0.

    Raises:
        ConfigError: there is no such entry.
    """

    def __init__(self, world: World, shown: tuple[int, ...]):
        for entry in shown:
            require(
                0 <= entry < world.width,
                f"environment.observe names entry {entry}; they are 0 to {world.width - 1}",
            )
        self.world, self._shown = world, list(shown)
        self.batch, self.actions, self.length = world.batch, world.actions, world.length
        self.width = len(shown)

    def reset(self, generator: torch.Generator) -> Tensor:
        """Begin B episodes."""
        return self.world.reset(generator)[:, self._shown]

    def step(self, action: Tensor) -> Step:
        """Take one action in each."""
        step = self.world.step(action)
        return step._replace(
            observation=step.observation[:, self._shown], final=step.final[:, self._shown]
        )


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
