"""Models side by side on the same texts: how well they predict them, and what adapting brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from rich.table import Table
from torch import nn

from sparsemeta.errors import CorpusError, require
from sparsemeta.lm.evaluation.arms import Arm, choose_arms
from sparsemeta.lm.evaluation.breakdown import Gain, gains, plot, words_of
from sparsemeta.lm.evaluation.evaluator import Evaluator, Tuned, tune
from sparsemeta.lm.evaluation.gate import GateTrace, gate_of, trace_gate
from sparsemeta.lm.reading import Model
from sparsemeta.lm.scores import Passage, Reading, Score, finite, passages
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.nn import Health, observe
from sparsemeta.run import Precision, Progress

LISTED = 12
"""Up to this many texts get rows of their own in the table."""


@dataclass
class Comparison:
    """All that was measured."""

    readings: dict[str, Reading]
    """By label: an arm of the first model, or the name of another model."""
    tuned: list[Tuned] = field(default_factory=list)
    """The grids that settings were chosen from."""
    health: dict[str, Health] = field(default_factory=dict)
    """How well each memory of the first model is used, if that was asked for."""
    gate: GateTrace | None = None
    """How far the first model's gate trusted its tables, if that was asked for."""
    segment: int = 256
    precision: Precision = "32-true"
    words: tuple[Tokenizer, Sequence[Document], Sequence[Passage], Sequence[Document]] | None = None
    """Tokenizer, texts, the same as read, and training text: what `gains` are found in."""

    @property
    def reference(self) -> str:
        """The label that the others are compared with.

        The first other model that was read without memory, else `static`, else the first of all.
        """
        static = [label for label, reading in self.readings.items() if reading.arm == "static"]
        return next((label for label in static if label != "static"), [*static, *self.readings][0])

    @cached_property
    def gains(self) -> list[Gain]:
        """Loss by classes of words; none if the tokenizer spells words together."""
        if self.words is None:
            return []
        tokenizer, texts, read, training = self.words
        words = words_of(tokenizer, texts, read)
        return [] if words is None else gains(self.readings, words, training or None)

    def table(self) -> Table:
        """A row for each text and label if the texts are few, and the totals."""
        base = self.reference
        result = Table(box=None, header_style="bold", padding=(0, 1))
        result.add_column("text", overflow="fold")
        result.add_column("arm", no_wrap=True)
        headings = ("nats", "bits/byte", "perplexity", "per word", f"vs {base}", "tokens/s", "cost")
        for heading in (*headings, "state"):
            result.add_column(heading, justify="right")
        count = len(self.readings[base].texts)
        rows = [
            {label: reading.texts[i] for label, reading in self.readings.items()}
            for i in range(count if 1 < count <= LISTED else 0)
        ]
        for scores in (*rows, {label: reading.total for label, reading in self.readings.items()}):
            names = [next(iter(scores.values())).name] + [""] * len(scores)
            for name, (label, score) in zip(names, scores.items(), strict=False):
                result.add_row(name, label, *_cells(score, scores[base]))
            result.add_section()
            result.add_row()
        return result

    def summary(self) -> str:
        """What was read, and what each reading could draw on."""
        total, count = self.readings[self.reference].total, len(self.readings[self.reference].texts)
        lines = [
            f"{count} {'text' if count == 1 else 'texts'}: {total.tokens:,} tokens, "
            f"{total.words:,} words ({total.words_eos:,} with ends of lines, which `per word` "
            f"counts), {total.bytes:,} bytes; cost: relative to {self.reference}"
        ]
        return "\n".join(lines + [f"{label}: {r.policy}" for label, r in self.readings.items()])

    def to_dict(self) -> dict[str, Any]:
        """All numbers, ready for JSON: ratios are to the reference, `words` are nats by class."""
        base, arms = self.readings[self.reference].total, {}
        for label, reading in self.readings.items():
            total = reading.total
            about = {"arm": reading.arm, "settings": reading.settings, "context": reading.policy}
            arms[label] = about | {
                "relative_perplexity": finite(_ratio(total.perplexity, base.perplexity)),
                "relative_cost": finite(_ratio(total.seconds, base.seconds)),
                "total": total.to_dict(),
                "texts": [text.to_dict() for text in reading.texts],
            }
        return {
            "segment": self.segment,
            "precision": self.precision,
            "tuned": [tuned.to_dict() for tuned in self.tuned],
            "reference": self.reference,
            "arms": arms,
            "words": [gain.to_dict() for gain in self.gains],
        } | ({"gate": self.gate.to_dict()} if self.gate else {})

    def plot(self, path: str | Path) -> None:
        """Draw loss against position in the text, and the gain by how often a word came before."""
        plot(self.readings, self.reference, self.gains, path)


def compare(
    models: Mapping[str, tuple[Model, Tokenizer]],
    texts: Sequence[Document],
    *,
    arms: str | Sequence[str | Arm] | None = None,
    training: Sequence[Document] = (),
    validation: Sequence[Document] = (),
    tune_tokens: int = 40_000,
    health: bool = False,
    gate: bool = False,
    segment: int = 256,
    precision: Precision = "32-true",
    progress: Progress | None = None,
) -> Comparison:
    """Let models read texts in order, and score every token before it is read.

    Args:
        models: by name, as `load` gives them; left as they were. The first reads once per arm, each
            other once, with its memory carried if it has one.
        texts: read one after the other as a single stream; a separator opens each.
        arms: names such as `carried+dynamic`, or arms with settings of their own; `all`. Those that
            need no gradients if None.
        training: the text that the first model was trained on: dynamic arms see some of it
            beforehand, and words are counted in it.
        validation: texts to tune the arms' settings on, never those to be scored; none, no tuning.
        tune_tokens: how many of their tokens are read for each point of a grid.
        health: whether the first model reads once more, carried, and its memories are watched.
        gate: whether it reads twice more, carried, with and without its tables, and their gate is
            watched.
        segment: tokens per forward pass (T); it changes speed, not scores. Dynamic arms read in
            segments of their setting.
        precision: of the forward pass; probabilities are float32 always.
        progress: where to show how it goes.

    >>> compare({"demo": load("runs/demo")}, texts, arms=["carried"]).summary()  # doctest: +SKIP
    """
    if not texts:
        raise CorpusError("there is no text to read. Name at least one.")
    progress = progress or Progress(quiet=True)
    (name, (model, tokenizer)), *others = models.items()
    chosen = choose_arms(arms, model.has_memory)
    watched = choose_arms("carried", model.has_memory) if health else ()
    if gate:
        gate_of(model)
    evaluator = Evaluator(
        model, tokenizer, training, segment=segment, precision=precision, progress=progress
    )
    evaluator.require_training(chosen)
    read = passages(tokenizer, texts)
    for label, (_, other) in others:
        same = other is tokenizer or other.fingerprint() == tokenizer.fingerprint()
        both = zip(read, () if same else passages(other, texts), strict=not same)
        require(
            all(a.tokens.tolist() == b.tokens.tolist() for a, b in both),
            f"{label} reads these texts in other tokens than {name}, so their perplexities cannot "
            "be compared. Train both on the same text and tokenizer.",
        )
    words = tokenizer, texts, read, training
    found = Comparison({}, segment=segment, precision=precision, words=words)
    if validation:
        tuning = passages(tokenizer, validation)
        chosen, found.tuned = tune(evaluator, tuning, chosen, tokens=tune_tokens)
    progress.message(f"{name} reads {len(texts)} {'text' if len(texts) == 1 else 'texts'}")
    for arm in chosen:
        found.readings[str(arm)] = evaluator.reading(arm, read)
    for label, (other, own) in others:
        progress.message(f"{label} reads the same")
        (arm,) = choose_arms("carried" if other.has_memory else "static", other.has_memory)
        beside = Evaluator(other, own, segment=segment, precision=precision, progress=progress)
        found.readings[label] = beside.reading(arm, read)
    for arm in watched:
        progress.message(f"{name} reads once more, watched")
        with observe(cast(nn.Module, model)) as found.health:
            evaluator.reading(arm, read)
    if gate:
        progress.message(f"{name} reads twice more: with its gate watched, and without tables")
        found.gate = trace_gate(evaluator, read)
    return found


def evaluate(
    model: Model, tokenizer: Tokenizer, texts: Sequence[Document], **options: Any
) -> dict[str, Reading]:
    """Let one model read texts: a reading for each arm, by its name; options as of `compare`."""
    return compare({"model": (model, tokenizer)}, texts, **options).readings


def _cells(score: Score, base: Score) -> tuple[str, ...]:
    return (
        f"{score.nats:,.0f}",
        f"{score.bits_per_byte:.3f}",
        f"{score.perplexity:,.2f}",
        f"{score.word_perplexity:,.2f}",
        f"{_ratio(score.perplexity, base.perplexity) - 1:+.1%}",
        f"{score.tokens_per_second:,.0f}",
        f"{_ratio(score.seconds, base.seconds):.2f}x",
        f"{score.state_bytes / 2**20:.2f} MiB",
    )


def _ratio(value: float, base: float) -> float:
    return value / base if base else float("nan")
