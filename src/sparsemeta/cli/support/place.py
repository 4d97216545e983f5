"""Where an agent is to play, if not where it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sparsemeta.rl.config import EnvironmentConfig

if TYPE_CHECKING:
    from sparsemeta.rl.agent import ActorCritic
    from sparsemeta.rl.config import Recipe


@dataclass(frozen=True)
class Place:
    """What differs from the environment that the agent was trained in."""

    id: str | None = None
    """Another Gymnasium id."""
    settings: tuple[str, ...] = ()
    """What is set otherwise, each as name=value: hazard=0.1 length=400."""

    def changed(self, trained: EnvironmentConfig) -> EnvironmentConfig:
        """The environment to play in; another one has none of the settings of the first."""
        other = self.id is not None and self.id != trained.id
        kept = () if other else trained.settings
        return EnvironmentConfig(
            self.id or trained.id, (*kept, *self.settings), observe=trained.observe
        )


def load_agent(model: Path) -> tuple[ActorCritic, Recipe]:
    """A trained agent on the best device, and its recipe."""
    import torch

    from sparsemeta.rl.checkpoint import load

    agent, recipe = load(model)
    return agent.to("cuda" if torch.cuda.is_available() else "cpu"), recipe
