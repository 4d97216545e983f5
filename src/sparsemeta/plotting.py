"""What is checked before long work whose result is to be drawn."""

from pathlib import Path

from sparsemeta.errors import require, require_installed

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
    require_installed("matplotlib", extra)
