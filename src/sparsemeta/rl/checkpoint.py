"""Trained agents on disk: an `engine.Session` whose subject is the recipe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from sparsemeta import run as engine
from sparsemeta.config import from_dict, to_dict
from sparsemeta.errors import CheckpointError
from sparsemeta.rl.agent import ActorCritic
from sparsemeta.rl.config import Recipe
from sparsemeta.rl.making import make


def about(recipe: Recipe) -> dict[str, Any]:
    """A recipe as its checkpoints have it."""
    return json.loads(json.dumps(to_dict(recipe)))


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
    try:
        recipe = from_dict(json.loads((folder / "training.json").read_text()), Recipe)
        world = make(recipe.environment, 1)
        agent = ActorCritic(world.width, world.actions, recipe.agent)
        safetensors.torch.load_model(agent, folder / "model.safetensors")
    except (OSError, SafetensorError, RuntimeError, json.JSONDecodeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{folder}: damaged ({reason}). Delete it and train again.") from None
    return agent.eval(), recipe
