"""A model in training and its place in the text: set up anew, saved, and taken up again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import AdamW

from sparsemeta.config import require, to_dict
from sparsemeta.engine import Engine, Progress, optimizer_tensors, restore_optimizer
from sparsemeta.errors import CorpusError
from sparsemeta.lm.checkpoint import TrainingState, load_model, load_training, save_checkpoint
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.corpus import read_documents, split_holdout
from sparsemeta.lm.modelling import LanguageModel, LMState
from sparsemeta.lm.streams import Streams
from sparsemeta.lm.tokenizer import Tokenizer, train_tokenizer

FREE = ("training.steps", "training.checkpoint_every")
"""What may change when a run is taken up again; any other change would make it another run."""

REMEDY = "begin anew with --restart, or choose another --run"


@dataclass
class Session:
    """A model in training and its place in the text."""

    recipe: Recipe
    engine: Engine
    model: LanguageModel
    forward: Callable[..., tuple[Tensor, LMState]]
    """The model's forward pass in the recipe's precision."""
    optimizer: AdamW
    tokenizer: Tokenizer
    streams: Streams
    corpus: str
    """Fingerprint of the text."""
    state: LMState | None = None
    """What the streams have left in the model's attention windows and memories."""
    step: int = 0
    """Optimizer steps done."""
    seconds: float = 0.0
    """Time they took."""

    def save(self, checkpoints: Path) -> Path:
        """Write the checkpoint of this moment; return its folder."""
        training = TrainingState(
            step=self.step,
            seconds=self.seconds,
            position=self.streams.position,
            corpus=self.corpus,
            recipe=to_dict(self.recipe),
            tensors={
                "optimizer": optimizer_tensors(self.optimizer),
                "stream": {} if self.state is None else self.state.tensors(),
                "random": {"generator": torch.get_rng_state()},
            },
        )
        return save_checkpoint(checkpoints, self.model, self.tokenizer, training)

    def restore(self, saved: TrainingState) -> None:
        """Go back to the moment of a checkpoint; the model has its weights already."""
        self.step, self.seconds = saved.step, saved.seconds
        self.streams.position = saved.position
        restore_optimizer(self.optimizer, saved.tensors["optimizer"])
        stream = {k: v.to(self.engine.device) for k, v in saved.tensors["stream"].items()}
        self.state = LMState.from_tensors(stream) if stream else None
        torch.set_rng_state(saved.tensors["random"]["generator"])


def set_up(recipe: Recipe, latest: Path | None, progress: Progress) -> Session:
    """Everything that a step needs.

    Args:
        recipe: what to train, on what.
        latest: the checkpoint to go on from, or None to begin anew.
        progress: told what is going on.

    Raises:
        ConfigError: the checkpoint was trained with another recipe.
        CorpusError: the text cannot be read, or is not the checkpoint's.
        CheckpointError: the checkpoint is damaged.
    """
    config = recipe.training
    saved = load_training(latest) if latest else None
    if latest and saved:
        require_same_recipe(recipe, saved, latest)
    engine = Engine(precision=config.precision, devices=1, seed=config.seed)

    progress.message(f"reading {', '.join(recipe.corpus.train)}")
    documents = read_documents(recipe.corpus.train, recipe.corpus)
    documents, _ = split_holdout(documents, recipe.corpus.holdout)
    if latest:
        progress.message(f"going on from {latest}")
        model, tokenizer = load_model(latest)
    else:
        tokenizer = train_tokenizer(recipe.tokenizer, documents)
        model = LanguageModel(recipe.model, tokenizer.vocab_size)
    tokens = tokenizer.encode_all([document.text for document in documents])
    opened = [part for document in tokens for part in ([tokenizer.separator], document)]
    text = np.concatenate(opened, dtype=np.int32)
    streams = Streams(text, streams=config.streams, segment=config.segment)
    noun = "document" if len(documents) == 1 else "documents"
    progress.message(
        f"{len(documents)} {noun}, {streams.tokens:,} tokens: {streams.steps_per_epoch} steps "
        f"to read once; {sum(p.numel() for p in model.parameters()):,} parameters"
    )

    groups = parameter_groups(model, config.weight_decay)
    optimizer = AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
    forward = engine.setup(model.train(), optimizer)
    corpus = fingerprint(tokens)
    session = Session(recipe, engine, model, forward, optimizer, tokenizer, streams, corpus)
    if latest and saved:
        if corpus != saved.corpus:
            raise CorpusError(
                f"the training text is not the one that {latest} was trained on. Put the text "
                f"back, {REMEDY}."
            )
        session.restore(saved)
    return session


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Decay the matrices; leave embeddings, gains and biases alone."""
    tables = {p for m in model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    decayed = [p for p in model.parameters() if p.ndim >= 2 and p not in tables]
    others = [p for p in model.parameters() if p.ndim < 2 or p in tables]
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]


def require_same_recipe(recipe: Recipe, saved: TrainingState, latest: Path) -> None:
    """Refuse to go on with another recipe than the checkpoint's.

    Raises:
        ConfigError: anything but `FREE` differs, or the checkpoint is past the recipe's steps.
    """
    old, new = _flat(saved.recipe), _flat(to_dict(recipe))
    changed = [
        f"{key} (was {old.get(key)!r}, now {new.get(key)!r})"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key not in FREE
    ]
    require(
        not changed,
        f"{latest} was trained with another recipe: {', '.join(changed)}. Give the same values to "
        f"go on with it, {REMEDY}.",
    )
    require(
        saved.step <= recipe.training.steps,
        f"training.steps = {recipe.training.steps}, but {latest} is already past that. Ask for "
        f"more steps, {REMEDY}.",
    )


def fingerprint(tokens: Sequence[np.ndarray]) -> str:
    """A hash of the documents' tokens and of where each document ends."""
    digest = hashlib.sha256()
    for document in tokens:
        digest.update(len(document).to_bytes(8, "little"))
        digest.update(document.tobytes())
    return digest.hexdigest()


def _flat(nested: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{where}{key}.") if isinstance(value, dict) else {where + key: value}
    return flat
