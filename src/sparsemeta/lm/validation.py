"""A text apart from training, read now and then: it chooses a checkpoint, and when to stop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sparsemeta.lm.evaluation import evaluate
from sparsemeta.lm.session import Best, Session

FIELDS = ("nats", "tokens", "bits_per_byte", "perplexity", "seconds")


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
