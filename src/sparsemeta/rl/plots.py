"""One figure of an evaluation: how an agent adapts, beside those who play it best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparsemeta.plotting import require_plotting
from sparsemeta.rl.evaluation import STAY, STEP, SWITCH, Evaluation

_STYLES: dict[str, dict[str, Any]] = {
    "agent": {"color": "#d62728", "linewidth": 2.5, "zorder": 3},
    "uniform": {"color": "#aaaaaa", "linestyle": "--"},
}
_BEST: dict[str, Any] = {"color": "#222222", "linestyle": ":", "linewidth": 2.5}
_OTHERS = ("C0", "C2", "C1", "C4")
_AXES = {
    SWITCH: ("trial after a switch of the rule", "probability of an error"),
    STAY: ("what came of a first choice", "probability that it is repeated"),
    STEP: ("step of the life", "mean reward"),
}
_OUTCOMES = "unpaid\nrare", "unpaid\ncommon", "paid\nrare", "paid\ncommon"


def plot(found: Evaluation, path: str | Path) -> None:
    """Draw the curves of every player: errors after a switch, choices repeated, or reward.

    Args:
        found: what was measured.
        path: a file that ends in one of `plotting.FORMATS`.
    """
    require_plotting(Path(path), "rl")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    few = found.curve != STEP
    for i, (name, played) in enumerate(found.players.items()):
        if not played.curve:
            continue
        style = _STYLES.get(name) or (_BEST if i == 1 else {"color": _OTHERS[i % 4]})
        trials = range(1, len(played.curve) + 1)
        axes.plot(trials, played.curve, label=name, marker="o" if few else "", **style)
    if found.curve == SWITCH:
        axes.set_xticks(range(1, 6))
    elif found.curve == STAY:
        axes.set_xticks(range(1, 5), _OUTCOMES)
    axes.set_title(found.environment.id)
    across, up = _AXES[found.curve]
    axes.set(xlabel=across, ylabel=up)
    axes.grid(alpha=0.3, linewidth=0.5)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.lines:
        axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, dpi=150)
