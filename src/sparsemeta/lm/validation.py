"""A text apart from training, read now and then: it chooses a checkpoint, and when to stop."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from sparsemeta.lm.reading import Model, score
from sparsemeta.lm.text import Document, Tokenizer
from sparsemeta.run import Precision

FIELDS = ("nats", "tokens", "bits_per_byte", "perplexity", "seconds")


@dataclass(frozen=True)
class Best:
    """The best reading of the validation text so far."""

    step: int
    bits_per_byte: float
    since: int = 0  # readings since then, none of them better

    @classmethod
    def after(cls, best: Self | None, step: int, bits_per_byte: float) -> Self:
        """The best reading after another one."""
        if best is None or bits_per_byte < best.bits_per_byte:
            return cls(step, bits_per_byte)
        return replace(best, since=best.since + 1)

    def __str__(self) -> str:
        if self.since == 0:
            return ", the best so far"
        return f"; the best was {self.bits_per_byte:.3f} at step {self.step}"


def validate(
    model: Model, tokenizer: Tokenizer, texts: Sequence[Document], precision: Precision
) -> dict[str, Any]:
    """Read the validation text, the memory carried through it if there is one; the `FIELDS`."""
    found = score(model, tokenizer, texts, precision=precision).to_dict()
    return {name: found[name] for name in FIELDS}
