"""What there is to see, with Pillow: pictures to draw on, and films of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sparsemeta.errors import require, require_installed

Image = NDArray[np.uint8]
"""(height, width, 3), red, green and blue."""
Colour = tuple[int, int, int]

FORMATS = (".gif", ".png")
"""How the name of a film may end."""
COLUMNS = 4  # of a strip


def blank(width: int, height: int, ground: Colour) -> tuple[Any, Any]:
    """A `PIL.Image` to draw on, so many pixels of one colour, and its `PIL.ImageDraw`.

    Raises:
        MissingExtra: Pillow is not installed.
    """
    require_installed("PIL", "rl")
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (width, height), ground)
    return image, ImageDraw.Draw(image)


def require_film(path: Path) -> None:
    """Check that a film can be written at the end.

    Raises:
        MissingExtra: Pillow is not installed.
        ConfigError: the file name does not end like a film.
    """
    require(
        path.suffix in FORMATS, f"{path}: a film's name ends in {' or '.join(FORMATS)}. Rename it."
    )
    require_installed("PIL", "rl")


def save_film(path: Path, pictures: Sequence[Image], delay: float) -> None:
    """Write pictures as an animation or as a strip, by the file's name.

    Args:
        path: a file that ends in one of `FORMATS`.
        pictures: all of one size.
        delay: seconds that each is shown in an animation.
    """
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
