"""A text apart from training, read now and then: it chooses a checkpoint, and when to stop."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.scoring.evaluation import evaluate
from sparsemeta.lm.text.corpus import Document
from sparsemeta.lm.text.tokenizer import Tokenizer
from sparsemeta.run import Precision

FIELDS = ("nats", "tokens", "bits_per_byte", "perplexity", "seconds")


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


def better(best: Best | None, step: int, bits_per_byte: float) -> Best:
    """The best reading after another one."""
    if best is None or bits_per_byte < best.bits_per_byte:
        return Best(step, bits_per_byte)
    return replace(best, since=best.since + 1)


def validate(
    model: LanguageModel, tokenizer: Tokenizer, texts: Sequence[Document], precision: Precision
) -> dict[str, Any]:
    """Read the validation text, the memory carried through it if there is one.

    Returns:
        Nats of the whole text, its tokens, bits per byte, perplexity per token, and the seconds
        that it took.
    """
    arm = "carried" if model.config.memory_layers else "static"
    found = evaluate(model, tokenizer, texts, arms=[arm], precision=precision)[arm].total.to_dict()
    return {name: found[name] for name in FIELDS}


def told(step: int, found: dict[str, Any], best: Best, *, early: bool) -> str:
    """A reading in words."""
    line = f"step {step}: validation {found['bits_per_byte']:.3f} bits per byte, "
    line += f"perplexity {found['perplexity']:.2f}"
    if best.step == step:
        return f"{line}, the best so far"
    line += f"; the best was {best.bits_per_byte:.3f} at step {best.step}"
    return f"{line}: stopping early" if early else line
