"""A model in training whose data needs no place of its own: saved, and taken up again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from sparsemeta.errors import CheckpointError, ConfigError
from sparsemeta.files import write_folder
from sparsemeta.run.checkpoints import newest, prune
from sparsemeta.run.optimizer import optimizer_tensors, restore_optimizer


@dataclass
class Session:
    """A model in training. What it learns from is drawn anew by seeds, and so is not in it."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    checkpoints: Path
    """Folder of its checkpoints, of which the newest is kept."""
    about: dict[str, Any]
    """What decides the result: the task and the configuration, as JSON has them."""
    step: int = 0
    """Updates done, however they are counted."""

    def save(self) -> None:
        """Write the checkpoint of this moment."""
        tensors = optimizer_tensors(self.optimizer) | {"random": torch.get_rng_state()}
        try:
            with write_folder(self.checkpoints / f"step-{self.step:06d}") as folder:
                safetensors.torch.save_model(self.model, str(folder / "model.safetensors"))
                safetensors.torch.save_file(tensors, folder / "training.safetensors")
                (folder / "training.json").write_text(json.dumps(self.about), encoding="utf-8")
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"{self.checkpoints}: cannot be written ({error}). Make room on the disk, and "
                "train again to go on from the checkpoint before."
            ) from None
        prune(self.checkpoints, keep=1)

    def restore(self) -> None:
        """Go back to the newest checkpoint, if there is one.

        Raises:
            ConfigError: it is of another task or configuration.
            CheckpointError: it is damaged, or of another model.
        """
        folder = newest(self.checkpoints)
        if folder is None:
            return
        try:
            about = json.loads((folder / "training.json").read_text(encoding="utf-8"))
            tensors = safetensors.torch.load_file(folder / "training.safetensors")
            if about != self.about:
                raise ConfigError(
                    f"{folder}: was trained otherwise: {'; '.join(_changes(about, self.about))}. "
                    "Choose another folder for this run, or delete that one."
                )
            safetensors.torch.load_model(self.model, folder / "model.safetensors")
            torch.set_rng_state(tensors.pop("random"))
            restore_optimizer(self.optimizer, tensors)
        except (OSError, SafetensorError, RuntimeError, LookupError, json.JSONDecodeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{folder}: damaged, or of another model ({reason}). Delete it to train anew."
            ) from None
        self.step = int(folder.name.removeprefix("step-"))


def _changes(there: dict[str, Any], here: dict[str, Any], where: str = "") -> list[str]:
    """In which entries two nested dictionaries differ."""
    found = []
    for name in dict.fromkeys((*there, *here)):
        old, new = there.get(name), here.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _changes(old, new, f"{where}{name}.")
        elif old != new:
            found.append(f"{where}{name} is {old} there and {new} here")
    return found
