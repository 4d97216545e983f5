"""`sparsemeta evaluate MODEL [TEXT...]`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from sparsemeta.cli.support.deliver import Delivery
from sparsemeta.cli.support.texts import scored_text, training_text, validation_text
from sparsemeta.errors import SparseMetaError, require
from sparsemeta.lm.scoring.arms.settings import CacheSettings, DynamicSettings
from sparsemeta.lm.text.corpus import Document

if TYPE_CHECKING:
    from torch import Tensor, nn

    from sparsemeta.lm.scoring.arms.arm import Arm
    from sparsemeta.lm.scoring.arms.backbone import Backbone
    from sparsemeta.lm.scoring.arms.grid import Tuned
    from sparsemeta.lm.scoring.rarity import Gain
    from sparsemeta.lm.scoring.scores import Reading
    from sparsemeta.lm.text.tokenizer import Tokenizer
    from sparsemeta.nn import Health
    from sparsemeta.run import Progress


@dataclass(frozen=True)
class Evaluate:
    """Let a model read texts once, from left to right, and score each token before it is read.

    An arm is one such reading. The memory is off in `static`, emptied at each text in `document`,
    and kept through all texts, in the order given, in `carried`. `cache` mixes in the words that
    followed similar contexts before; `dynamic` changes the weights by gradient descent on what has
    been scored. Plus signs join them: `carried+dynamic`; without a policy the memory is off.
    """

    model: tyro.conf.Positional[Path]
    """A model folder, or the folder of a run: then its best checkpoint; or the local folder of
    any causal language model of Hugging Face's transformers."""
    texts: tyro.conf.Positional[tuple[str, ...]] = ()
    """Files, folders, globs, .jsonl files, `stdlib` or `hf:NAME/CONFIG[:split]`. If left out: what
    the model's recipe held out of training."""
    arms: str | None = None
    """Arms, with commas between them, or `all`. If left out: static, document, carried and cache,
    as far as the model has them; they need no gradients."""
    baseline: tuple[Path, ...] = ()
    """Other models to compare with, such as one trained without memory: each is read with its
    memory carried, if it has one. The first without is what all others are compared with."""
    segment: int = 256
    """Tokens per forward pass; it changes speed, not scores. Dynamic arms have their own."""
    precision: Literal["bf16-mixed", "32-true"] = "32-true"
    """bf16-mixed: autocast; 32-true: float32 throughout."""
    cache: CacheSettings = field(default_factory=CacheSettings)
    """The neural cache."""
    dynamic: DynamicSettings = field(default_factory=DynamicSettings)
    """Dynamic evaluation."""
    training_text: tuple[str, ...] = ()
    """What dynamic arms measure their gradients on. If left out: the recipe's `corpus.train`."""
    tune: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Choose the settings of cache and dynamic arms on validation text, by a small grid."""
    validation: tuple[str, ...] = ()
    """Texts to tune on. If left out: the recipe's `corpus.validation`."""
    tune_tokens: int = 40_000
    """Tokens of them that are read for each point of a grid, from their start."""
    json: Path | None = None
    """Write all numbers to this file."""
    health: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also report how well the memory is used: the texts are read once more, carried."""
    plot: Path | None = None
    """Draw loss against position in the text, and the gain by how often a word came before, in the
    document and in training: a .png, .pdf or .svg file."""


@dataclass
class Result:
    """All that was measured."""

    readings: dict[str, Reading]
    tuned: list[Tuned]
    gains: list[Gain]
    health: dict[str, Health]


def main(arguments: Sequence[str]) -> None:
    """Read, score, print, and write what was asked for."""
    command = tyro.cli(Evaluate, args=list(arguments), prog="sparsemeta evaluate")

    from sparsemeta.lm.scoring import plots, report

    delivery = Delivery(command.json, command.plot, extra="lm")
    result = read(command)
    delivery.deliver(
        *map(report.grid_table, result.tuned),
        report.table(result.readings),
        report.summary(result.readings),
        *(f"{name}: {seen}" for name, seen in result.health.items()),
        data=lambda: _data(command, result),
        draw=lambda path: plots.plot(result.readings, result.gains, path),
    )


def read(command: Evaluate) -> Result:
    """Read the texts in every arm, and by every baseline."""
    from sparsemeta.lm.scoring.arms.backbone import backbone_of
    from sparsemeta.lm.scoring.evaluation import evaluate
    from sparsemeta.nn import observe
    from sparsemeta.run import Progress

    model, tokenizer = _load(command.model)
    texts = scored_text(command.model, command.texts)
    baselines = _load_baselines(command, tokenizer, texts)
    progress = Progress()
    arms, scales, tuned = _prepare(command, backbone_of(model), tokenizer, progress)

    def score(model: nn.Module, own: Tokenizer, arms: Sequence[str | Arm]) -> dict[str, Reading]:
        return evaluate(
            model,
            own,
            texts,
            arms=arms,
            segment=command.segment,
            precision=command.precision,
            scales=scales,
            progress=progress,
        )

    progress.message(f"{command.model} reads {len(texts)} {'text' if len(texts) == 1 else 'texts'}")
    readings = score(model, tokenizer, arms)
    for label, other in baselines.items():
        progress.message(f"{label} reads the same")
        arm = "carried" if backbone_of(other[0]).has_memory else "static"
        readings[label] = score(*other, [arm])[arm]
    health: dict[str, Health] = {}
    if command.health:
        progress.message(f"{command.model} reads once more, watched")
        with observe(model) as health:
            score(model, tokenizer, ["carried"])
    gains = _gains(command, tokenizer, texts, readings, progress)
    return Result(readings, tuned, gains, health)


def _load(path: Path) -> tuple[nn.Module, Tokenizer]:
    """A model of ours or of transformers, on the best device."""
    import torch

    from sparsemeta.lm.checkpoint import load_model
    from sparsemeta.lm.scoring.arms.pretrained import is_pretrained, load_pretrained

    model, tokenizer = load_pretrained(path) if is_pretrained(path) else load_model(path)
    return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def _load_baselines(
    command: Evaluate, tokenizer: Tokenizer, texts: Sequence[Document]
) -> dict[str, tuple[nn.Module, Tokenizer]]:
    """The baselines by name, which is the folder's unless that is taken."""
    from sparsemeta.lm.scoring.arms.arm import all_arms

    found: dict[str, tuple[nn.Module, Tokenizer]] = {}
    for path in command.baseline:
        other = _load(path)
        require(
            _same_tokens(tokenizer, other[1], texts),
            f"{path} reads these texts in other tokens than {command.model}, so their "
            "perplexities cannot be compared. Train both on the same text and tokenizer.",
        )
        taken = path.name in (*all_arms(True), *found)
        found[f"baseline {path}" if taken else path.name] = other
    return found


def _prepare(
    command: Evaluate, backbone: Backbone, tokenizer: Tokenizer, progress: Progress
) -> tuple[Sequence[Arm], dict[bool, list[Tensor]], list[Tuned]]:
    """The arms with their settings, and what the dynamic ones need beforehand."""
    from sparsemeta.lm.scoring.arms.arm import Arm, all_arms, arms_of
    from sparsemeta.lm.scoring.arms.statistics import gradient_scales
    from sparsemeta.lm.scoring.arms.tuning import tune
    from sparsemeta.lm.scoring.evaluation import choose_arms

    names = command.arms.split(",") if command.arms else arms_of(backbone.has_memory)
    names = all_arms(backbone.has_memory) if names == ["all"] else names
    named = [Arm.parse(name, command.cache, command.dynamic) for name in names]
    arms: Sequence[Arm] = choose_arms(named, backbone)
    dynamic = any(arm.dynamic for arm in arms)
    training = training_text(command.model, command.training_text) if dynamic else []
    require(
        bool(training) or not dynamic,
        f"dynamic arms measure their gradients on training text, and {command.model} has no "
        "recipe.toml that names it. Name some: --training-text TEXT...",
    )
    validation = validation_text(command.model, command.validation) if command.tune else []
    precision = command.precision
    scales = gradient_scales(
        backbone, tokenizer, training, arms, precision=precision, progress=progress
    )
    if not command.tune:
        return arms, scales, []
    arms, tuned = tune(
        backbone,
        tokenizer,
        validation,
        arms,
        tokens=command.tune_tokens,
        scales=scales,
        segment=command.segment,
        precision=precision,
        progress=progress,
    )
    return arms, scales, tuned


def _gains(
    command: Evaluate,
    tokenizer: Tokenizer,
    texts: Sequence[Document],
    readings: Mapping[str, Reading],
    progress: Progress,
) -> list[Gain]:
    """Loss by classes of words, where it will be shown."""
    from sparsemeta.lm.scoring.rarity import gains, words_of

    if not (command.json or command.plot):
        return []
    words = words_of(tokenizer, texts)
    if words is None:
        progress.message("this tokenizer joins words, so there is no loss by word")
        return []
    try:
        training = training_text(command.model, command.training_text)
    except SparseMetaError as error:  # the reading is done and must not be lost
        progress.message(f"no loss by training frequency: {error}")
        training = []
    return gains(readings, words, training or None)


def _same_tokens(one: Tokenizer, other: Tokenizer, texts: Sequence[Document]) -> bool:
    parts = [text.text for text in texts]
    pairs = zip(one.encode_all(parts), other.encode_all(parts), strict=True)
    return all(a.tolist() == b.tolist() for a, b in pairs)


def _data(command: Evaluate, result: Result) -> dict[str, Any]:
    """What --json writes."""
    from sparsemeta.lm.scoring import report

    about = {
        "model": str(command.model),
        "baseline": [str(path) for path in command.baseline],
        "segment": command.segment,
        "precision": command.precision,
        "tuned": [tuned.to_dict() for tuned in result.tuned],
    }
    return about | report.to_dict(result.readings, result.gains)
