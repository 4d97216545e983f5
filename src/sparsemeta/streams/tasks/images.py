"""Images for `ClassOrdered`: scikit-learn's digits, and Omniglot.

Omniglot is 1,623 handwritten characters, each drawn by 20 people (Lake et al. 2015).
"""

import io
import zipfile
import zlib
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from sparsemeta.errors import CorpusError, require, require_installed

HOME = "https://github.com/brendenlake/omniglot"

# What NumPy, zipfile and Pillow raise on a damaged file.
DAMAGE = (OSError, ValueError, LookupError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error)


def read_digits() -> Tensor:
    """The digits of scikit-learn, of each as many as of the rarest; no download.

    They are (10, 174, 8, 8) uint8, 255 is full ink.
    """
    require_installed("sklearn", "tasks")
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    ink = torch.as_tensor(pixels * (255 / 16)).round().to(torch.uint8).view(-1, 8, 8)
    labels = torch.as_tensor(digits)
    each = int(labels.bincount().min())
    return torch.stack([ink[labels == digit][:each] for digit in range(10)])


def read_omniglot(
    folder: str | Path,
    split: Literal["background", "evaluation"] = "background",
    *,
    size: int = 28,
    rotations: bool = False,
) -> Tensor:
    """Read a split of Omniglot, averaged down to size x size pixels.

    Args:
        folder: holds images_SPLIT.npz, or else the official images_SPLIT.zip. The .npz has an array
            `images`, (characters, drawings, height, width) bool, True where the paper is white.
        split: background has the 964 characters to train on, evaluation 659 of other alphabets.
        size: pixels of a side.
        rotations: each character turned by 90, 180 and 270 degrees is a further class.

    Returns:
        (characters, drawings, size, size) uint8, 255 is full ink; with rotations four times as many
        characters, first all as drawn.

    Raises:
        CorpusError: there is no such file, or it is damaged or something else.
    """
    known = split in ("background", "evaluation")
    require(known, f"split = {split!r} is neither 'background' nor 'evaluation'")
    require(1 <= size <= 105, f"size = {size} must lie between 1 and the 105 pixels of a drawing")
    paper = _read_paper(Path(folder) / f"images_{split}")
    ink = torch.stack([adaptive_avg_pool2d(1 - torch.from_numpy(c).float(), size) for c in paper])
    images = (255 * ink).round().to(torch.uint8)
    return torch.cat([images.rot90(turn, (-2, -1)) for turn in range(4 if rotations else 1)])


def _read_paper(stem: Path) -> np.ndarray:
    """Drawings (characters, drawings, height, width) bool, True where the paper is white."""
    found = [path for path in map(stem.with_suffix, (".npz", ".zip")) if path.is_file()]
    if not found:
        raise CorpusError(
            f"{stem.parent}: holds neither {stem.name}.npz nor {stem.name}.zip. Put "
            f"{stem.name}.zip there, from the folder `python` of {HOME}"
        )
    path = found[0]
    try:
        zipped = path.suffix == ".zip"
        paper = _unzipped(path) if zipped else np.load(io.BytesIO(path.read_bytes()))["images"]
        if paper.dtype != bool or paper.ndim != 4:
            raise ValueError(
                f"{paper.dtype} of shape {paper.shape}, not drawings (characters, drawings, "
                "height, width) in black and white"
            )
    except DAMAGE as error:
        why = f"{path}: cannot be read as Omniglot ({error}). Get it again from {HOME}"
        raise CorpusError(why) from None
    return paper


def _unzipped(path: Path) -> np.ndarray:
    """Drawings of the official archive, in the order of alphabet/character/drawing.png."""
    require_installed("PIL", "tasks")
    from PIL import Image

    with zipfile.ZipFile(path) as archive:
        images = [name for name in archive.namelist() if name.endswith(".png")]
        names = sorted(name for name in images if name.startswith(f"{path.stem}/"))
        characters = []
        for _, drawings in groupby(names, key=lambda name: PurePosixPath(name).parent):
            opened = [Image.open(archive.open(name)).convert("1") for name in drawings]
            characters.append(np.stack([np.asarray(image) for image in opened]))
    return np.stack(characters)
