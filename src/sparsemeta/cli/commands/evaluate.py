"""`sparsemeta evaluate MODEL [TEXT...]`."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from sparsemeta.cli.support.deliver import Delivery
from sparsemeta.cli.support.texts import scored_text, training_text, validation_text
from sparsemeta.errors import CorpusError
from sparsemeta.lm.evaluation import ADAPTATIONS, all_arms, choose_arms


@dataclass(frozen=True)
class Evaluate:
    """Let a model read texts once, from left to right, and score each token before it is read.

    An arm is one such reading. Plus signs join what adapts in it, as in carried+dynamic; where the
    life of the memory is not named, the memory is off.
    """

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its best checkpoint; or the local folder of
    any causal language model of Hugging Face's transformers."""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Files, folders, globs, .jsonl files, `stdlib` or `hf:NAME/CONFIG[:split]`. If left out: what
    the model's recipe held out of training."""
    adapter: Path | None = None
    """Memories for a model of transformers: the folder of a run of `sparsemeta augment`, or of an
    adapter."""
    arms: str | None = None
    """Arms, with commas between them, or `all`. If left out: those of one part that need no
    gradients, as far as the model has them."""
    baseline: tuple[Path, ...] = ()
    """Other models to compare with, such as one trained without memory: each is read with its
    memory carried, if it has one. The first without is what all others are compared with."""
    segment: int = 256
    """How many tokens a forward pass reads; it changes speed, not scores. Dynamic arms have their
    own."""
    precision: Literal["bf16-mixed", "32-true"] = "32-true"
    """The precision of the forward pass: bf16-mixed is autocast, 32-true is float32 throughout."""
    training_text: tuple[str, ...] = ()
    """What dynamic arms measure their gradients on. If left out: the recipe's `corpus.train`."""
    tune: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Choose the settings of cache and dynamic arms on validation text, by a small grid."""
    validation: tuple[str, ...] = ()
    """Texts to tune on. If left out: the recipe's `corpus.validation`."""
    tune_tokens: int = 40_000
    """How many of their tokens are read for each point of a grid, from their start."""
    json: Path | None = None
    """Write all numbers to this file."""
    health: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also report how well the memory is used: the texts are read once more, carried."""
    plot: Path | None = None
    """Draw loss against position in the text, and the gain by how often a word came before, in the
    document and in training: a .png, .pdf or .svg file."""
    gate: Path | None = None
    """Draw how far the gate of a table memory trusts the model, and each kind of context, through
    the texts, and what the tables bring: a .png, .pdf or .svg file. The texts are read twice more,
    carried: with the tables, and without."""


def main(arguments: Sequence[str]) -> None:
    """Load, compare, print, and write what was asked for."""
    # The registry decides the flags of adaptations.
    kinds = {name: kind for name, kind in ADAPTATIONS.items() if fields(kind)}
    flags = [(name, kind, field(default_factory=kind)) for name, kind in kinds.items()]
    listed = "\n".join(f"  {name:<9} {kind.about}" for name, kind in ADAPTATIONS.items())
    about = f"{inspect.getdoc(Evaluate)}\n\n{listed}"
    form = make_dataclass("Command", flags, bases=(Evaluate,), frozen=True)
    command = tyro.cli(form, args=list(arguments), prog="sparsemeta evaluate", description=about)

    from sparsemeta.lm import compare, load
    from sparsemeta.run import Progress

    delivery, progress = Delivery(command.json, command.plot, extra="lm"), Progress()
    gate = Delivery(None, command.gate, extra="lm")
    model, tokenizer = load(command.model, adapter=command.adapter)
    texts = scored_text(command.model, command.texts)
    models = {str(command.model): (model, tokenizer)}
    for path in command.baseline:
        taken = path.name in (*all_arms(True), *models)
        models[f"baseline {path}" if taken else path.name] = load(path)
    arms = choose_arms(command.arms, model.has_memory, [getattr(command, kind) for kind in kinds])
    required = any(part.training_tokens for arm in arms for part in arm.parts)
    training = []
    if required or delivery.files:
        try:
            training = training_text(command.model, command.training_text, required=required)
        except CorpusError as error:
            if required:
                raise
            progress.message(f"no loss by training frequency: {error}")
    same = ("tune_tokens", "health", "segment", "precision")
    found = compare(
        models,
        texts,
        arms=arms,
        training=training,
        validation=validation_text(command.model, command.validation) if command.tune else (),
        gate=command.gate is not None,
        progress=progress,
        **{name: getattr(command, name) for name in same},
    )
    if delivery.files and not found.gains:
        progress.message("this tokenizer joins words, so there is no loss by word")
    about = {"model": str(command.model), "baseline": [str(path) for path in command.baseline]}
    delivery.deliver(
        *(tuned.table() for tuned in found.tuned),
        found.table(),
        found.summary(),
        *(f"{name}: {seen}" for name, seen in found.health.items()),
        data=lambda: about | found.to_dict(),
        draw=found.plot,
    )
    if found.gate:
        gate.deliver(str(found.gate), data=found.gate.to_dict, draw=found.gate.plot)
