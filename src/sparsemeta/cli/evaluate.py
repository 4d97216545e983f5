"""`sparsemeta evaluate MODEL [TEXT...]`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from sparsemeta.cli.output import require_writable, write_aside
from sparsemeta.config import read_toml, require
from sparsemeta.errors import ConfigError
from sparsemeta.lm.config import Recipe
from sparsemeta.lm.corpus import Document, read_documents, split_holdout

if TYPE_CHECKING:
    from sparsemeta.lm.modelling import LanguageModel
    from sparsemeta.lm.scores import Reading
    from sparsemeta.lm.tokenizer import Tokenizer
    from sparsemeta.nn import Health


@dataclass(frozen=True)
class Evaluate:
    """Let a model read texts once, from left to right, and score each token before it is read.

    Arms: `static` reads with the memory off, `document` empties it at each text, `carried` keeps
    it through all texts in the order given.
    """

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its newest checkpoint."""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Files and folders, or `stdlib`. If left out: what the model's recipe held out of training."""
    arms: str | None = None
    """Arms, with commas between them. If left out: all that the model has."""
    baseline: Path | None = None
    """A second model, such as one trained without memory, to compare with: its static arm."""
    segment: int = 256
    """Tokens per forward pass; it changes speed, not scores."""
    precision: Literal["bf16-mixed", "32-true"] = "32-true"
    """bf16-mixed: autocast; 32-true: float32 throughout."""
    json: Path | None = None
    """Write all numbers to this file."""
    health: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also report how well the memory is used: the texts are read once more, carried."""
    plot: Path | None = None
    """Draw loss against position in the text: a .png, .pdf or .svg file."""


def main(arguments: Sequence[str]) -> None:
    """Read, score, print, and write what was asked for."""
    command = tyro.cli(Evaluate, args=list(arguments), prog="sparsemeta evaluate")

    from rich.console import Console

    from sparsemeta.lm import plots, report

    if command.json:
        require_writable(command.json)
    if command.plot:
        plots.require_plotting(command.plot)
        require_writable(command.plot)
    readings, health = read(command)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 120
    console.print(report.table(readings))
    console.print(report.summary(readings), soft_wrap=True)
    for name, seen in health.items():
        console.print(f"{name}: {seen}", soft_wrap=True)
    if command.json:
        about = {
            "model": str(command.model),
            "baseline": str(command.baseline) if command.baseline else None,
            "segment": command.segment,
            "precision": command.precision,
        }
        text = json.dumps(about | report.to_dict(readings), indent=2, allow_nan=False)
        with write_aside(command.json) as aside:
            aside.write_text(text + "\n", encoding="utf-8")
    if command.plot:
        with write_aside(command.plot) as aside:
            plots.plot_loss(readings, aside)


def read(command: Evaluate) -> tuple[dict[str, Reading], dict[str, Health]]:
    """The readings of the model, by arm, and of the baseline; if asked, its memories' health."""
    import torch

    from sparsemeta.engine import Progress
    from sparsemeta.lm.checkpoint import load_model
    from sparsemeta.lm.evaluation import evaluate
    from sparsemeta.lm.report import BASELINE
    from sparsemeta.nn import observe

    model = load_model(command.model)
    baseline = load_model(command.baseline) if command.baseline else None
    texts = choose_texts(command)
    if baseline:
        require(
            _same_tokens(model[1], baseline[1], texts),
            f"{command.baseline} reads these texts in other tokens than {command.model}, so their "
            "perplexities cannot be compared. Train both on the same text and tokenizer.",
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    progress = Progress()

    def score(
        model: LanguageModel, tokenizer: Tokenizer, arms: list[str] | None
    ) -> dict[str, Reading]:
        return evaluate(
            model.to(device),
            tokenizer,
            texts,
            arms=arms,
            segment=command.segment,
            precision=command.precision,
            progress=progress,
        )

    progress.message(f"{command.model} reads {len(texts)} {'text' if len(texts) == 1 else 'texts'}")
    readings = score(*model, command.arms.split(",") if command.arms else None)
    if baseline:
        progress.message(f"{command.baseline} reads the same")
        readings[BASELINE] = score(*baseline, ["static"])["static"]
    if not command.health:
        return readings, {}
    progress.message(f"{command.model} reads once more, watched")
    with observe(model[0]) as health:
        score(*model, ["carried"])
    return readings, health


def choose_texts(command: Evaluate) -> list[Document]:
    """The texts named, or those that the model's recipe held out."""
    recipe = recipe_of(command.model)
    if command.texts:
        return read_documents(command.texts, (recipe or Recipe()).corpus)
    if recipe is None or not recipe.corpus.holdout:
        missing = "has no recipe.toml" if recipe is None else "held no document out of training"
        raise ConfigError(
            f"{command.model}: {missing}, so there is nothing to read. "
            "Name texts: sparsemeta evaluate MODEL TEXT..."
        )
    documents = read_documents(recipe.corpus.train, recipe.corpus)
    return split_holdout(documents, recipe.corpus.holdout)[1]


def recipe_of(model: Path) -> Recipe | None:
    """The recipe of a run folder, or of the run that a checkpoint belongs to."""
    folder = model.resolve()
    run = folder.parent.parent if folder.parent.name == "checkpoints" else folder
    path = run / "recipe.toml"
    return read_toml(path, Recipe) if path.exists() else None


def _same_tokens(one: Tokenizer, other: Tokenizer, texts: list[Document]) -> bool:
    parts = [text.text for text in texts]
    pairs = zip(one.encode_all(parts), other.encode_all(parts), strict=True)
    return all(a.tolist() == b.tolist() for a, b in pairs)
