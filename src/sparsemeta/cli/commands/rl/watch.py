"""`sparsemeta rl watch MODEL`."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta import rl
from sparsemeta.cli.support.agent import AgentCommand
from sparsemeta.config import AtLeast, Count
from sparsemeta.files import require_writable, writable, write_file


@dataclass(frozen=True)
class Watch(AgentCommand):
    """Look on while a trained agent plays one task, step by step; you are told what it is not."""

    episodes: Count = 1
    """Episodes of the task, in a row."""
    steps: Count | None = None
    """Stop after so many steps; if left out, when the episodes are over."""
    delay: Annotated[float, AtLeast(0)] = 0.5
    """Seconds between steps, on a terminal and in an animation."""
    out: Path | None = None
    """Write what there is to see as an animation, a .gif file, or as a strip, a .png file."""


def main(arguments: Sequence[str]) -> None:
    """Play, print, and write what was asked for."""
    command = tyro.cli(Watch, args=list(arguments), prog="sparsemeta rl watch")
    if command.out:
        rl.require_film(command.out)
        require_writable(command.out)
    agent, place, _ = command.load()
    pictures = []
    for moment in rl.watch(
        agent,
        place,
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
            rl.save_film(aside, pictures, command.delay)
        print(command.out)
