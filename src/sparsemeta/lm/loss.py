"""What is trained beside the prediction: that of a model without the memories at its end."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from sparsemeta.ops import log_p


@contextmanager
def own_losses(head: nn.Module, targets: Tensor) -> Iterator[list[Tensor]]:
    """Collect the loss of what a model with memories at its end predicts without them.

    The gate gives back to the model its share in what came true, and hardly anything where a table
    knew: a model that is trained through it alone stays weak. So it is trained by itself, too.

    Args:
        head: the output layer, of a model that runs inside this block, whole segments at a time.
        targets: (B, T) int64, what follows each token.

    Yields:
        A scalar for each run, as it runs; none if what the memories stand on is frozen.
    """
    losses: list[Tensor] = []

    def predicted(_head: object, _hidden: object, logits: Tensor) -> None:
        if logits.requires_grad:
            losses.append(-log_p(logits.clone(), targets).mean())  # rows are added in place

    hook = head.register_forward_hook(predicted)
    try:
        yield losses
    finally:
        hook.remove()
