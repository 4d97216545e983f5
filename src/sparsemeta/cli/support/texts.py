"""Which texts a command means: those named, or those that the model's recipe knows of."""

import sys
from collections.abc import Sequence
from pathlib import Path

from sparsemeta.config import read_toml
from sparsemeta.errors import ConfigError, CorpusError, require
from sparsemeta.lm import CorpusConfig, Document, Recipe, read_documents, split_holdout


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
    """The texts named, or those that the recipe held out of training."""
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


def training_text(model: Path, sources: Sequence[str], *, required: bool) -> list[Document]:
    """The text named as the training text, or the recipe's; none, if it is not required."""
    corpus = corpus_of(model)
    if sources:
        return read_documents(sources, corpus)
    if recipe_of(model) is not None:
        return split_holdout(read_documents(corpus.train, corpus), corpus.holdout)[0]
    require(
        not required,
        f"dynamic arms measure their gradients on training text, and {model} has no recipe.toml "
        "that names it. Name some: --training-text TEXT...",
    )
    return []


def validation_text(model: Path, sources: Sequence[str]) -> list[Document]:
    """The text to tune on, which must not be the text to be scored: as named, or the recipe's."""
    corpus = corpus_of(model)
    require(
        bool(sources or corpus.validation),
        f"--tune needs text that is not scored, and the recipe of {model} names no "
        "corpus.validation. Name some: --validation TEXT...",
    )
    return read_documents(sources or corpus.validation, corpus)


def read_stdin() -> Document:
    """Standard input as a text."""
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            f"standard input: is not UTF-8 at byte {error.start}. Convert it with iconv."
        ) from None
    if not text.strip():
        raise CorpusError("standard input: is empty. Pipe a text into it, or name a file.")
    return Document("standard input", text)
