"""Which texts a command means: those named, or those that the model's recipe knows of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sparsemeta.config import read_toml
from sparsemeta.errors import ConfigError, require
from sparsemeta.lm.config import CorpusConfig, Recipe
from sparsemeta.lm.text.corpus import Document, read_documents, split_holdout


def recipe_of(model: Path) -> Recipe | None:
    """The recipe of a run folder, or of the run that a checkpoint belongs to."""
    folder = model.resolve()
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    path = run / "recipe.toml"
    return read_toml(path, Recipe) if path.exists() else None


def corpus_of(model: Path) -> CorpusConfig:
    """How the model's recipe reads text; the defaults if it has none."""
    return (recipe_of(model) or Recipe()).corpus


def scored_text(model: Path, sources: Sequence[str]) -> list[Document]:
    """The texts named, or those that the recipe held out of training.

    Raises:
        ConfigError: none are named, and none were held out.
    """
    if sources:
        return read_documents(sources, corpus_of(model))
    recipe = recipe_of(model)
    if recipe is None or not recipe.corpus.holdout:
        missing = "has no recipe.toml" if recipe is None else "held no document out of training"
        raise ConfigError(
            f"{model}: {missing}, so there is nothing to read. "
            "Name texts: sparsemeta evaluate MODEL TEXT..."
        )
    documents = read_documents(recipe.corpus.train, recipe.corpus)
    return split_holdout(documents, recipe.corpus.holdout)[1]


def training_text(model: Path, sources: Sequence[str]) -> list[Document]:
    """The text named as the training text, or the recipe's; none if neither is known."""
    corpus = corpus_of(model)
    if sources:
        return read_documents(sources, corpus)
    if recipe_of(model) is None:
        return []
    return split_holdout(read_documents(corpus.train, corpus), corpus.holdout)[0]


def validation_text(model: Path, sources: Sequence[str]) -> list[Document]:
    """The text to tune on, which must not be the text to be scored: as named, or the recipe's.

    Raises:
        ConfigError: there is none.
    """
    corpus = corpus_of(model)
    require(
        bool(sources or corpus.validation),
        f"--tune needs text that is not scored, and the recipe of {model} names no "
        "corpus.validation. Name some: --validation TEXT...",
    )
    return read_documents(sources or corpus.validation, corpus)
