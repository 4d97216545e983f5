"""A recipe that trains in a moment."""

from sparsemeta.config import MemoryConfig
from sparsemeta.rl.config import AgentConfig, EnvironmentConfig, Recipe, TrainingConfig

TINY = AgentConfig(
    width=8, memory=MemoryConfig(slots=8, active=2, heads=1, key_width=4, value_width=4)
)


def small(agent=TINY, id="sparsemeta/ReversalBandit-v0", settings=("length=5",), **training):
    usual = {
        "steps": 6 * 4 * 8,
        "environments": 8,
        "segment": 4,
        "minibatches": 2,
        "warmup": 1,
        "checkpoint_every": 2,
    }
    return Recipe(
        "small", EnvironmentConfig(id, settings), agent, TrainingConfig(**{**usual, **training})
    )
