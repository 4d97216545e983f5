"""`sparsemeta rl watch MODEL`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from sparsemeta.cli.support.place import Place, load_agent
from sparsemeta.errors import require
from sparsemeta.files import require_writable, writable, write_file


@dataclass(frozen=True)
class Watch:
    """Look on while a trained agent lives once, step by step; you are told what it is not."""

    model: tyro.conf.Positional[Path]
    """The folder of a run of `sparsemeta rl train`."""
    environment: Place = field(default_factory=Place)
    """Where to play, if not where it was trained."""
    episodes: int = 1
    """Of the life."""
    steps: int | None = None
    """At most; if left out, until the episodes are over."""
    seed: int = 0
    """Of all chance."""
    sample: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The agent draws from its policy. Otherwise it takes the likeliest action."""
    delay: float = 0.5
    """Seconds between steps, on a terminal and in an animation."""
    out: Path | None = None
    """Write what there is to see as an animation, a .gif file, or as a strip, a .png file."""


def main(arguments: Sequence[str]) -> None:
    """Play, print, and write what was asked for."""
    command = tyro.cli(Watch, args=list(arguments), prog="sparsemeta rl watch")
    for name in ("episodes", "steps"):
        given = getattr(command, name)
        require(given is None or given >= 1, f"--{name} {given} must be at least 1")
    require(command.delay >= 0, f"--delay {command.delay} must not be negative")

    import torch

    from sparsemeta.rl.film import require_film, save
    from sparsemeta.rl.watching import watch

    if command.out:
        require_film(command.out)
        require_writable(command.out)
    agent, recipe = load_agent(command.model)
    generator = torch.Generator(next(agent.parameters()).device).manual_seed(command.seed)
    pictures = []
    for moment in watch(
        agent,
        command.environment.changed(recipe.environment),
        generator,
        episodes=command.episodes,
        steps=command.steps,
        greedy=not command.sample,
        pictures=command.out is not None,
    ):
        print(moment.text, flush=True)
        pictures.append(moment.picture)
        if sys.stdout.isatty():
            time.sleep(command.delay)
    if command.out:
        with writable(command.out), write_file(command.out) as aside:
            save(aside, pictures, command.delay)
        print(command.out)
