"""What the commands that let a trained agent play have in common."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta import rl
from sparsemeta.config import Settings
from sparsemeta.rl.environments import id_help


@dataclass(frozen=True)
class Elsewhere:
    """What differs from the environment that the agent was trained in."""

    id: Annotated[str | None, id_help()] = None
    settings: tuple[str, ...] = ()
    """Settings of the environment that are to differ, each as name=value: hazard=0.1 length=400."""


@dataclass(frozen=True)
class AgentCommand(Settings):
    """A trained agent, where it plays, and how."""

    model: tyro.conf.Positional[Path]
    """The folder of a run of `sparsemeta rl train`."""
    environment: Elsewhere = field(default_factory=Elsewhere)
    """Where to play, if not where the agent was trained."""
    seed: int = 0
    """The seed of everything that is left to chance."""
    sample: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let the agent draw from its policy. Otherwise it takes the likeliest action."""

    def load(self) -> "tuple[rl.ActorCritic, rl.EnvironmentConfig, rl.Recipe]":
        """The agent on the best device, where it is to play, and how it was trained."""
        agent, recipe = rl.load(self.model)
        place = rl.elsewhere(recipe.environment, self.environment.id, self.environment.settings)
        return rl.to_best_device(agent), place, recipe
