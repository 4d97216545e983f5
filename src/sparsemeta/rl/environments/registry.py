"""The environments of sparsemeta by their Gymnasium ids. A new one is one line here."""

from pkgutil import resolve_name

from typing_extensions import Doc

from sparsemeta.rl.environments.spec import EnvironmentSpec

_HERE = "sparsemeta.rl.environments"

REGISTRY: dict[str, str | EnvironmentSpec] = {
    "sparsemeta/CardSorting-v0": f"{_HERE}.card_sorting:CARD_SORTING",
    "sparsemeta/CardSortingStrict-v0": f"{_HERE}.card_sorting:CARD_SORTING_STRICT",
    "sparsemeta/ReversalBandit-v0": f"{_HERE}.reversal:REVERSAL_BANDIT",
    "sparsemeta/BernoulliBandit-v0": f"{_HERE}.bernoulli:BERNOULLI_BANDIT",
    "sparsemeta/TwoStep-v0": f"{_HERE}.two_step:TWO_STEP",
    "sparsemeta/GraphPOMDP-v0": f"{_HERE}.graph:GRAPH_POMDP",
}
"""What each says of itself, or where that stands, as module:name."""


def find_spec(id: str) -> EnvironmentSpec:
    """What an environment says of itself; of those that are not in the registry nothing is known.

    Args:
        id: as Gymnasium has it.
    """
    found = REGISTRY.get(id, EnvironmentSpec())
    return resolve_name(found) if isinstance(found, str) else found


def id_help() -> Doc:
    """The help of a setting that names an environment, as metadata of its type."""
    return Doc(
        "The Gymnasium id of the environment; one of another package as module:id. Those of "
        f"sparsemeta: {', '.join(REGISTRY)}."
    )
