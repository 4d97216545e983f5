"""A model in training and its place in the text: how it is saved, and taken up again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

from sparsemeta.config import to_dict
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.checkpoint import TrainingState, save_checkpoint
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.modelling import LanguageModel, LMState
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.streams import Streams
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.run import (
    Engine,
    optimizer_tensors,
    restore_optimizer,
    whole,
)

REMEDY = "begin anew with --restart, or choose another --run"
"""What can be done where going on cannot."""


@dataclass(frozen=True)
class Best:
    """The best reading of the validation text so far."""

    step: int
    """When it was."""
    bits_per_byte: float
    since: int = 0
    """Readings since then, none of them better."""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; `Best(**data)` is the inverse."""
        return asdict(self)


@dataclass
class Session:
    """A model in training and its place in the text."""

    recipe: Recipe
    run: Path
    """Folder of the run."""
    engine: Engine
    model: LanguageModel
    forward: Callable[..., tuple[Tensor, LMState]]
    """The model's forward pass in the recipe's precision."""
    optimizer: AdamW
    tokenizer: Tokenizer
    streams: Streams
    corpus: str
    """Fingerprint of the text."""
    validation: list[Document]
    """Texts that are read while training."""
    latest: Path | None = None
    """The newest checkpoint."""
    state: LMState | None = None
    """What the streams have left in the model's attention windows and memories."""
    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Time they took."""
    best: Best | None = None
    """The best reading of the validation texts."""

    @property
    def early(self) -> bool:
        """Whether to stop because the last readings were no better."""
        patience = self.recipe.training.patience
        return patience > 0 and self.best is not None and self.best.since >= patience

    @property
    def finished(self) -> bool:
        """Whether there is nothing left to do."""
        return self.step >= self.recipe.training.steps or self.early

    def save(self) -> None:
        """Write the checkpoint of this moment."""
        model, optimizer = self.whole_model(), optimizer_tensors(self.optimizer)
        stream = self._gather_state()
        training = TrainingState(
            step=self.step,
            seconds=self.seconds,
            position=self.streams.position,
            corpus=self.corpus,
            recipe=to_dict(self.recipe),
            best=self.best.to_dict() if self.best else None,
            tensors={
                "optimizer": optimizer,
                "stream": stream,
                "random": {"generator": torch.get_rng_state()},
            },
        )
        folder = self.run / "checkpoints"
        self.latest = self.engine.once(
            lambda: save_checkpoint(folder, model, self.tokenizer, training)
        )

    def restore(self, saved: TrainingState) -> None:
        """Go back to the moment of a checkpoint; the model has its weights already."""
        self.step, self.seconds = saved.step, saved.seconds
        self.best = Best(**saved.best) if saved.best else None
        self.streams.position = saved.position
        restore_optimizer(self.optimizer, saved.tensors["optimizer"])
        stream = {k: v.to(self.engine.device) for k, v in saved.tensors["stream"].items()}
        if stream:
            share = self.recipe.training.streams // self.engine.world
            mine = slice(self.engine.rank * share, (self.engine.rank + 1) * share)
            self.state = LMState.from_tensors(stream).select(mine)
        torch.set_rng_state(saved.tensors["random"]["generator"])

    def whole_model(self) -> LanguageModel:
        """The model, or a copy that has all its weights where each process holds a share."""
        if self.engine.strategy != "fsdp":
            return self.model
        weights = {name: whole(value) for name, value in self.model.state_dict().items()}
        with torch.random.fork_rng(devices=[]):
            copy = LanguageModel(self.model.config, self.model.vocab_size)
        copy.load_state_dict(weights)
        return copy.to(self.engine.device)

    def _gather_state(self) -> dict[str, Tensor]:
        """The state of all processes' streams side by side, in the main process."""
        if self.state is None:
            return {}
        mine = {name: tensor.cpu() for name, tensor in self.state.tensors().items()}
        return _side_by_side(self.engine.gather(mine))


def _side_by_side(parts: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of several processes' states as those of one state."""
    if len(parts) < 2:
        return parts[0] if parts else {}
    memory = FastWeights.concat([LMState.from_tensors(part).memory for part in parts])
    tensors = {f"memory.{name}": tensor for name, tensor in memory.tensors().items()}
    for name in parts[0]:
        if not name.startswith("memory."):
            tensors[name] = torch.cat([part[name] for part in parts])
    return tensors
