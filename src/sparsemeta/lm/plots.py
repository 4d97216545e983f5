"""Loss against position: does a model get better by reading?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sparsemeta.config import require
from sparsemeta.errors import MissingExtra
from sparsemeta.lm.scores import Reading, Score

FORMATS = (".png", ".pdf", ".svg")

_STYLE: dict[str, dict[str, Any]] = {
    "baseline": {"color": "#222222", "linestyle": "--"},
    "static": {"color": "#7f7f7f"},
    "document": {"color": "#1f77b4"},
    "carried": {"color": "#d62728"},
}


def require_plotting(path: Path) -> None:
    """Check before hours of reading that a plot can be drawn after them.

    Raises:
        MissingExtra: matplotlib is not installed.
        ConfigError: the file name does not end like a picture.
    """
    require(
        path.suffix in FORMATS, f"{path}: a plot's name ends in {', '.join(FORMATS)}. Rename it."
    )
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise MissingExtra("matplotlib", "lm") from None


def plot_loss(readings: Mapping[str, Reading], path: str | Path) -> None:
    """Draw nats per token against the position in the text, a line for each reading.

    Args:
        readings: by label, which goes into the legend with the total perplexity.
        path: a file that ends in one of `FORMATS`.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    require_plotting(Path(path))
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for label, reading in readings.items():
        position, nats = loss_curve(reading.texts)
        legend = f"{label}: perplexity {reading.total.perplexity:,.2f}"
        axes.plot(position, nats, label=legend, marker="o", markersize=3, **_STYLE.get(label, {}))
    count = len(next(iter(readings.values())).texts)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("position in the text, in tokens")
    axes.set_ylabel("loss, in nats per token")
    axes.set_title(f"Loss while reading, mean over {count} {'text' if count == 1 else 'texts'}")
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


def loss_curve(
    texts: Sequence[Score], *, first: int = 32, ratio: float = 2**0.5
) -> tuple[np.ndarray, np.ndarray]:
    """Mean loss in bins of position that widen by a constant ratio, all texts together.

    Args:
        texts: scores with `token_nats`.
        first: tokens in the first bin; earlier positions are too few to average.
        ratio: of the ends of successive bins.

    Returns:
        Mean position, counted from 1, and nats per token, of the bins that hold any token.
    """
    nats = np.concatenate([text.token_nats for text in texts], dtype=np.float64)
    position = np.concatenate([np.arange(1, text.tokens + 1) for text in texts])
    bins = np.ceil(np.log(np.maximum(position / first, 1)) / np.log(ratio)).astype(int)
    count = np.bincount(bins)
    full = count > 0
    means = [np.bincount(bins, of)[full] / count[full] for of in (position, nats)]
    return means[0], means[1]
