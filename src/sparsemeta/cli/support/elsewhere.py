"""Where an agent is to play, as the commands ask it."""

from dataclasses import dataclass
from typing import Annotated

from sparsemeta.rl.environments import id_help


@dataclass(frozen=True)
class Elsewhere:
    """What differs from the environment that the agent was trained in."""

    id: Annotated[str | None, id_help()] = None
    settings: tuple[str, ...] = ()
    """Settings of the environment that are to differ, each as name=value: hazard=0.1 length=400."""
