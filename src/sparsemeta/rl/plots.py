"""One figure of an evaluation: how an agent adapts, beside those who play it best."""

from pathlib import Path
from typing import Any

from sparsemeta.plotting import require_plotting
from sparsemeta.rl.environments import find_spec
from sparsemeta.rl.evaluation import Evaluation

_STYLES: dict[str, dict[str, Any]] = {
    "agent": {"color": "#d62728", "linewidth": 2.5, "zorder": 3},
    "uniform": {"color": "#aaaaaa", "linestyle": "--"},
}
_BEST: dict[str, Any] = {"color": "#222222", "linestyle": ":", "linewidth": 2.5}
_OTHERS = ("C0", "C2", "C1", "C4")


def plot(found: Evaluation, path: str | Path) -> None:
    """Draw the environment's curve of every player.

    Args:
        found: what was measured.
        path: a file that ends in one of `plotting.FORMATS`.
    """
    require_plotting(Path(path), "rl")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    curve = find_spec(found.environment.id).curve
    figure = Figure(figsize=(6, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title=found.environment.id, xlabel=curve.x, ylabel=curve.y)
    for i, (name, played) in enumerate(found.players.items()):
        if played.curve:
            style = _STYLES.get(name) or (_BEST if i == 1 else {"color": _OTHERS[i % 4]})
            points = range(1, len(played.curve) + 1)
            axes.plot(points, played.curve, label=name, marker="o" if curve.ticks else "", **style)
    if curve.ticks:
        axes.set_xticks(range(1, len(curve.ticks) + 1), curve.ticks)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
