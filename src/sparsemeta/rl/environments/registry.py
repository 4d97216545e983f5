"""What an environment says of itself, and the environments of sparsemeta by their Gymnasium ids.

Whoever evaluates, plots, watches, registers or lists environments reads this and knows none by
name. No torch is loaded here, so that help texts can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import Doc

if TYPE_CHECKING:
    from numpy import ndarray
    from torch import Tensor

    from sparsemeta.rl.environments.base import Agent, Record, Rules


class Outcome(NamedTuple):
    """One step of one environment: what the agent saw, what it did, and the reward it got."""

    observation: list[float]
    action: int
    reward: float


class Drawing:
    """How a state is shown, by default as Gymnasium rendered it, and what came of the action."""

    modes: tuple[str, ...] = ()  # of Gymnasium that there are, of "rgb_array" and "ansi"

    def text(self, state: Any) -> str:
        """The state of the first environment in words or letters, in whole lines."""
        return f"{state.rstrip()}\n" if isinstance(state, str) else ""

    def told(self, outcome: Outcome) -> str:
        """A line on what came of the step."""
        seen = " ".join(f"{value:g}" for value in outcome.observation)
        return f"observation: {seen}   action: {outcome.action}   reward: {outcome.reward:g}\n"

    def picture(self, state: Any, outcome: Outcome | None = None) -> ndarray | None:
        """The first environment, (height, width, 3) uint8, with the outcome marked in it."""
        return None if isinstance(state, str) else state


@dataclass(frozen=True)
class Curve:
    """What tells best how a player of an environment adapts.

    Its points (P,) are computed of a record and of the steps (T, B) of it that count; what is
    unknown is not finite, or left out.
    """

    title: str = "reward by step"
    x: str = "step"  # label of the axis of its points
    y: str = "mean reward"  # label of what they say
    points: Callable[[Record, Tensor], Tensor] = lambda record, counted: (
        (record.reward * counted).sum(1) / counted.sum(1)
    )
    ticks: tuple[str, ...] = ()  # what the points are called, where they are few


@dataclass(frozen=True)
class EnvironmentSpec:
    """One environment; the defaults are those of any that nothing is known of."""

    rules: type[Rules] | None = None
    """What it plays by, settings whose defaults are its own; None where Gymnasium has it."""
    rivals: Mapping[str, Callable[[], Agent]] = field(default_factory=dict)
    """Who plays it untrained, the best one first, by name."""
    measures: Callable[[Record], Mapping[str, Tensor]] = lambda record: {}
    """What is counted beside the reward, each (T, B) and summed over an episode, by name."""
    curve: Curve = Curve()
    drawing: Drawing = field(default_factory=Drawing)


REGISTRY: dict[str, str | EnvironmentSpec] = {
    "sparsemeta/CardSorting-v0": f"{__package__}.card_sorting.players:CARD_SORTING",
    "sparsemeta/CardSortingStrict-v0": f"{__package__}.card_sorting.players:CARD_SORTING_STRICT",
    "sparsemeta/ReversalBandit-v0": f"{__package__}.reversal:REVERSAL_BANDIT",
    "sparsemeta/BernoulliBandit-v0": f"{__package__}.bernoulli:BERNOULLI_BANDIT",
    "sparsemeta/TwoStep-v0": f"{__package__}.two_step:TWO_STEP",
    "sparsemeta/GraphPOMDP-v0": f"{__package__}.graph:GRAPH_POMDP",
}
"""What each says of itself, or where that stands, as module:name. A new one is one line here."""


def find_spec(id: str) -> EnvironmentSpec:
    """What an environment says of itself, by its id; nothing is known of any not registered."""
    found = REGISTRY.get(id, EnvironmentSpec())
    return resolve_name(found) if isinstance(found, str) else found


def id_help() -> Doc:
    """The help of a setting that names an environment, as metadata of its type."""
    return Doc(
        "The Gymnasium id of the environment; one of another package as module:id. Those of "
        f"sparsemeta: {', '.join(REGISTRY)}."
    )
