"""A trained agent at play, step by step, in words and pictures, and films of these."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from numpy import ndarray
from torch import Generator

from sparsemeta.errors import ConfigError, require, require_installed
from sparsemeta.rl.agent import ActorCritic, Player, fitting, make
from sparsemeta.rl.config import EnvironmentConfig
from sparsemeta.rl.environments import Outcome, find_spec

FORMATS = (".gif", ".png")
"""How the name of a film may end."""
COLUMNS = 4  # of a strip


class Moment(NamedTuple):
    """One step: what was there, what the agent did and what came of it."""

    text: str  # in words
    picture: ndarray | None  # (height, width, 3) uint8, or None if none is needed


def watch(
    agent: ActorCritic,
    config: EnvironmentConfig,
    *,
    episodes: int = 1,
    steps: int | None = None,
    seed: int = 0,
    greedy: bool = True,
    pictures: bool = False,
) -> Iterator[Moment]:
    """Let an agent play one task; `ConfigError` if it does not fit, or is to be drawn and cannot.

    Args:
        agent: who.
        config: where.
        episodes: of the task, in a row.
        steps: at most; None for as many as the episodes have.
        seed: of all that is random.
        greedy: whether the agent takes the likeliest action or draws from its policy.
        pictures: whether they are needed.
    """
    env = fitting(agent, _rendered(config, pictures), 1)
    drawing = find_spec(config.id).drawing
    generator = Generator(agent.device).manual_seed(seed)
    player = Player(agent, greedy=greedy, episodes=episodes)
    observation = env.reset(generator)
    player.reset(env, generator)
    ended = 0
    for count in range(1, (steps or env.length * episodes) + 1):
        action = player.act(observation)
        state = env.unwrapped.render()
        step = env.step(action)
        player.update(observation, action, step.reward, step.done)
        outcome = Outcome(observation[0].tolist(), int(action), float(step.reward))
        text = f"step {count}\n{drawing.text(state)}{drawing.told(outcome)}"
        yield Moment(text, drawing.picture(state, outcome) if pictures else None)
        ended += int(step.done)
        if ended == episodes:
            return
        observation = step.observation


def _rendered(config: EnvironmentConfig, pictures: bool) -> EnvironmentConfig:
    """The same with the render mode of Gymnasium that is needed, where it draws so."""
    mode = "rgb_array" if pictures else "ansi"
    others = make(config, 1).unwrapped.render_modes
    if pictures and mode not in (*others, *find_spec(config.id).drawing.modes):
        raise ConfigError(f"{config.id} draws no pictures. Leave out --out, and read what it does.")
    asked = (f"render_mode={mode}",) if mode in others else ()
    return replace(config, settings=(*config.settings, *asked))


def require_film(path: Path) -> None:
    """Check that a film can be written at the end: how its name ends, and Pillow's presence."""
    ends = " or ".join(FORMATS)
    require(path.suffix in FORMATS, f"{path}: a film's name ends in {ends}. Rename it.")
    require_installed("PIL", "rl")


def save_film(path: Path, pictures: Sequence[ndarray], delay: float) -> None:
    """Write pictures of one size as a strip or, shown `delay` seconds each, as an animation."""
    require_film(path)
    from PIL import Image

    frames = [Image.fromarray(picture) for picture in pictures]
    if path.suffix == ".gif":
        duration = max(20, round(1000 * delay))  # viewers take less for a mistake
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0)
        return
    width, height = frames[0].size
    columns = min(COLUMNS, len(frames))
    strip = Image.new("RGB", (columns * width, -(-len(frames) // columns) * height), "white")
    for index, frame in enumerate(frames):
        strip.paste(frame, (index % columns * width, index // columns * height))
    strip.save(path)
