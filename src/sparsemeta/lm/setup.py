"""Before the first step: text, tokenizer, processes and model, anew or from a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import AdamW

from sparsemeta.config import to_dict
from sparsemeta.errors import require
from sparsemeta.lm.checkpoint import TrainingState, load_model, load_training
from sparsemeta.lm.config import Recipe, TrainingConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.session import REMEDY, Session
from sparsemeta.lm.text.corpus import Document, read_documents, split_holdout
from sparsemeta.lm.text.streams import Streams
from sparsemeta.lm.text.tokenised import tokenise
from sparsemeta.lm.text.tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from sparsemeta.run import Engine, Progress, is_main, newest

FREE = {
    f"training.{name}"
    for name in ("steps", "checkpoint_every", "patience", "devices", "strategy", "tensorboard")
}
"""What may change when a run is taken up again; any other change would make it another run."""


def read_text(recipe: Recipe, progress: Progress) -> tuple[list[Document], list[Document]]:
    """The documents to train on, and those to validate on.

    Raises:
        ConfigError: there is to be validation, but no text for it.
        CorpusError: the text cannot be read.
    """
    corpus, config = recipe.corpus, recipe.training
    require(
        bool(corpus.validation) or not config.validate_every,
        f"training.validate_every = {config.validate_every}, but corpus.validation names no text. "
        "Name some, or set training.validate_every = 0.",
    )
    require(
        bool(config.validate_every) or not config.patience,
        f"training.patience = {config.patience} counts readings of corpus.validation, but "
        "training.validate_every = 0 never reads it. Set both, or neither.",
    )
    progress.message(f"reading {', '.join(corpus.train)}")
    documents, _ = split_holdout(read_documents(corpus.train, corpus), corpus.holdout)
    validation = read_documents(corpus.validation, corpus) if config.validate_every else []
    return documents, validation


def set_up(
    recipe: Recipe,
    run: Path,
    text: tuple[list[Document], list[Document]],
    *,
    resume: bool = True,
    progress: Progress,
) -> Session:
    """Everything that a step needs; starts the other processes, if there are to be any.

    Args:
        recipe: what to train.
        run: folder of the run; the tokens of its text are kept there.
        text: what `read_text` returned.
        resume: go on from the newest checkpoint, if there is one.
        progress: told what is going on.

    Raises:
        ConfigError: the checkpoint was trained with another recipe.
        CorpusError: the text is too short, or not the checkpoint's.
        CheckpointError: the checkpoint is damaged.
    """
    config, (documents, validation) = recipe.training, text
    latest = newest(run / "checkpoints") if resume else None
    saved = load_training(latest) if latest else None
    if latest and saved:
        require_same_recipe(recipe, saved, latest)
        progress.message(f"going on from {latest}")
    loaded = load_model(latest) if latest else None
    tokenizer = loaded[1] if loaded else _new_tokenizer(recipe, run / "corpus", documents)
    expected = saved.corpus if saved else None
    corpus = tokenise(documents, tokenizer, run / "corpus", progress, expected=expected)

    engine = Engine(
        precision=config.precision,
        devices=config.devices,
        strategy=config.strategy,
        seed=config.seed,
    )
    streams = Streams(
        corpus.tokens,
        streams=config.streams,
        segment=config.segment,
        rank=engine.rank,
        world=engine.world,
    )
    model = loaded[0] if loaded else LanguageModel(recipe.model, tokenizer.vocab_size)
    progress.message(_summary(len(documents), streams, model, config))
    forward = engine.setup(model.train())
    groups = parameter_groups(model, config.weight_decay)
    optimizer = AdamW(groups, lr=config.learning_rate, betas=(0.9, 0.95), fused=True)
    engine.setup_optimizer(optimizer)
    session = Session(
        recipe=recipe,
        run=run,
        engine=engine,
        model=model,
        forward=forward,
        optimizer=optimizer,
        tokenizer=tokenizer,
        streams=streams,
        corpus=corpus.fingerprint,
        validation=validation,
        latest=latest,
    )
    if saved:
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
    # A setting that there was not yet when it was saved was what its default is now.
    old = _flat(to_dict(Recipe())) | _flat(saved.recipe)
    new = _flat(to_dict(recipe))
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


def _new_tokenizer(recipe: Recipe, folder: Path, documents: list[Document]) -> Tokenizer:
    """Learn the tokenizer, and leave it beside the tokens for the other processes."""
    if not is_main():
        return load_tokenizer(folder)
    tokenizer = train_tokenizer(recipe.tokenizer, documents)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(folder)
    return tokenizer


def _summary(documents: int, streams: Streams, model: nn.Module, config: TrainingConfig) -> str:
    """The size of text and model, in words."""
    noun = "document" if documents == 1 else "documents"
    steps = math.ceil(streams.steps_per_epoch / config.accumulate)
    parameters = sum(p.numel() for p in model.parameters())
    return (
        f"{documents} {noun}, {streams.tokens:,} tokens: {steps} steps to read once; "
        f"{parameters:,} parameters"
    )


def _flat(nested: dict[str, Any], where: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= _flat(value, f"{where}{key}.") if isinstance(value, dict) else {where + key: value}
    return flat
