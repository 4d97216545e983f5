"""How every figure is made: one style of axes, one way into a file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sparsemeta.errors import require, require_installed

FORMATS = (".png", ".pdf", ".svg")
"""How the name of a plot may end."""


def require_plotting(path: Path, extra: str) -> None:
    """Check that a plot can be drawn at the end; `extra` of sparsemeta brings matplotlib there."""
    endings = ", ".join(FORMATS)
    require(path.suffix in FORMATS, f"{path}: a plot's name ends in {endings}. Rename it.")
    require_installed("matplotlib", extra)


@contextmanager
def drawn(
    path: str | Path, extra: str, *, size: tuple[float, float], panels: int = 1
) -> Iterator[list[Any]]:
    """Draw a figure, of a size in inches: yields its axes, one for each panel from left to right.

    It is saved at the end; `require_plotting` is asked first.
    """
    require_plotting(Path(path), extra)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panel_axes = list(figure.subplots(1, panels, squeeze=False)[0])
    yield panel_axes
    for axes in panel_axes:  # at the end, when the scales are known
        axes.grid(alpha=0.3, which="both", linewidth=0.5)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)
