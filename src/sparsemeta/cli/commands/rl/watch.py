"""`sparsemeta rl watch MODEL`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.cli.support.elsewhere import Elsewhere
from sparsemeta.config import AtLeast, Count, Settings
from sparsemeta.files import require_writable, writable, write_file


@dataclass(frozen=True)
class Watch(Settings):
    """Look on while a trained agent plays one task, step by step; you are told what it is not."""

    model: tyro.conf.Positional[Path]
    """The folder of a run of `sparsemeta rl train`."""
    environment: Elsewhere = field(default_factory=Elsewhere)
    """Where to play, if not where the agent was trained."""
    episodes: Count = 1
    """Episodes of the task, in a row."""
    steps: Count | None = None
    """Stop after so many steps; if left out, when the episodes are over."""
    seed: int = 0
    """The seed of everything that is left to chance."""
    sample: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let the agent draw from its policy. Otherwise it takes the likeliest action."""
    delay: Annotated[float, AtLeast(0)] = 0.5
    """Seconds between steps, on a terminal and in an animation."""
    out: Path | None = None
    """Write what there is to see as an animation, a .gif file, or as a strip, a .png file."""


def main(arguments: Sequence[str]) -> None:
    """Play, print, and write what was asked for."""
    command = tyro.cli(Watch, args=list(arguments), prog="sparsemeta rl watch")

    from sparsemeta import rl

    if command.out:
        rl.environments.require_film(command.out)
        require_writable(command.out)
    agent, recipe = rl.load(command.model)
    pictures = []
    for moment in rl.watch(
        rl.to_best_device(agent),
        rl.elsewhere(recipe.environment, command.environment.id, command.environment.settings),
        episodes=command.episodes,
        steps=command.steps,
        seed=command.seed,
        greedy=not command.sample,
        pictures=command.out is not None,
    ):
        print(moment.text, flush=True)
        pictures.append(moment.picture)
        if sys.stdout.isatty():
            time.sleep(command.delay)
    if command.out:
        with writable(command.out), write_file(command.out) as aside:
            rl.environments.save_film(aside, pictures, command.delay)
        print(command.out)
