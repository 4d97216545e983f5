"""A text apart from training, read now and then: it chooses a checkpoint, and when to stop."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from sparsemeta.lm.scoring.evaluation import evaluate

if TYPE_CHECKING:
    from sparsemeta.lm.session import Session

FIELDS = ("nats", "tokens", "bits_per_byte", "perplexity", "seconds")


@dataclass(frozen=True)
class Best:
    """The best reading so far."""

    step: int
    """When it was."""
    bits_per_byte: float
    since: int = 0
    """Readings since then, none of them better."""

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; `Best(**data)` is the inverse."""
        return asdict(self)


def validate(session: Session) -> dict[str, Any]:
    """Read the validation text, the memory carried through it if there is one.

    Training's streams, memory and random state stay as they are; `session.best` follows.

    Returns:
        The reading's line of the log: nats of the whole text, its tokens, bits per byte,
        perplexity per token, and the seconds that it took.
    """
    model = session.whole_model()
    arm = "carried" if model.config.memory_layers else "static"

    def read() -> dict[str, Any]:
        readings = evaluate(
            model,
            session.tokenizer,
            session.validation,
            arms=[arm],
            precision=session.recipe.training.precision,
        )
        numbers = readings[arm].total.to_dict()
        return {name: numbers[name] for name in FIELDS}

    found = session.engine.once(read)
    bits, best = found["bits_per_byte"], session.best
    if best is None or bits < best.bits_per_byte:
        session.best = Best(session.step, bits)
    else:
        session.best = replace(best, since=best.since + 1)
    return {"step": session.step, "validation": found}
