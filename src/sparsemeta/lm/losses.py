"""What is trained beside a model's prediction."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from sparsemeta.lm.modelling import LanguageModel, log_p


@contextmanager
def own_losses(model: LanguageModel, targets: Tensor) -> Iterator[list[Tensor]]:
    """Collect the loss of what a model with memories at its end predicts without them.

    The gate gives back to the model its share in what came true, and hardly anything where a table
    knew: a model that is trained through it alone stays weak. So it is trained by itself, too.

    Args:
        model: run inside this block, whole segments at a time.
        targets: (B, T) int64, what follows each token.

    Yields:
        A scalar for each run, as it runs; none if there are no such memories, or if what they stand
        on is frozen.
    """
    losses: list[Tensor] = []

    def predicted(_head: object, _hidden: object, logits: Tensor) -> None:
        if logits.requires_grad:
            losses.append(-log_p(logits, targets).mean())

    hook = model.head.register_forward_hook(predicted) if model.config.output else None
    try:
        yield losses
    finally:
        if hook:
            hook.remove()
