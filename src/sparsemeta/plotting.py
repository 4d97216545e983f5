"""What is checked before long work whose result is to be drawn."""

from importlib.util import find_spec
from pathlib import Path

from sparsemeta.config import require
from sparsemeta.errors import MissingExtra

FORMATS = (".png", ".pdf", ".svg")
"""How the name of a plot may end."""


def require_plotting(path: Path, extra: str) -> None:
    """Check that a plot can be drawn at the end.

    Args:
        path: where it shall go.
        extra: the extra of sparsemeta that brings matplotlib there.

    Raises:
        MissingExtra: matplotlib is not installed.
        ConfigError: the file name does not end like a picture.
    """
    require(
        path.suffix in FORMATS, f"{path}: a plot's name ends in {', '.join(FORMATS)}. Rename it."
    )
    if find_spec("matplotlib") is None:
        raise MissingExtra("matplotlib", extra)
