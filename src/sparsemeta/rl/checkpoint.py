"""Trained agents on disk: the checkpoints of their training."""

from pathlib import Path

from sparsemeta import run as engine
from sparsemeta.errors import CheckpointError
from sparsemeta.rl.agent import ActorCritic, make
from sparsemeta.rl.config import Recipe


def load(path: str | Path) -> tuple[ActorCritic, Recipe]:
    """The agent of a run, or of one of its checkpoints, and the recipe that it was trained by.

    Args:
        path: folder of the run, for its newest checkpoint, or of a checkpoint.

    Raises:
        CheckpointError: there is none, or it is damaged.
        ConfigError: the environment that it was trained in cannot be made.
    """
    folder = engine.newest(Path(path) / "checkpoints") or Path(path)
    if not (folder / "training.json").exists():
        raise CheckpointError(
            f"{path}: there is no trained agent. Name the folder of a run of `sparsemeta rl train`."
        )
    saved = engine.Checkpoint.read(folder)
    recipe = saved.recipe(Recipe)
    world = make(recipe.environment, 1)

    def build() -> ActorCritic:
        return ActorCritic(world.width, world.actions, recipe.agent)

    return engine.load_model(saved.weights, build).eval(), recipe
