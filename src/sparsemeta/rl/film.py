"""Pictures as a film: an animated GIF, or a PNG strip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sparsemeta.errors import MissingExtra, require
from sparsemeta.rl.cards import Image

FORMATS = (".gif", ".png")
"""How the name of a film may end."""
COLUMNS = 4  # of a strip


def require_film(path: Path) -> Any:
    """Check that a film can be written at the end; returns `PIL.Image`.

    Raises:
        MissingExtra: Pillow is not installed.
        ConfigError: the file name does not end like a film.
    """
    require(
        path.suffix in FORMATS, f"{path}: a film's name ends in {' or '.join(FORMATS)}. Rename it."
    )
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("PIL", "rl") from None
    return Image


def save(path: Path, pictures: Sequence[Image], delay: float) -> None:
    """Write pictures as an animation or as a strip, by the file's name.

    Args:
        path: a file that ends in one of `FORMATS`.
        pictures: all of one size.
        delay: seconds that each is shown in an animation.
    """
    pil = require_film(path)
    frames = [pil.fromarray(picture) for picture in pictures]
    if path.suffix == ".gif":
        duration = max(20, round(1000 * delay))  # viewers take less for a mistake
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=duration, loop=0)
        return
    width, height = frames[0].size
    columns = min(COLUMNS, len(frames))
    strip = pil.new("RGB", (columns * width, -(-len(frames) // columns) * height), "white")
    for index, frame in enumerate(frames):
        strip.paste(frame, (index % columns * width, index // columns * height))
    strip.save(path)
