"""A remedy against slots that fall out of use: a loss to train with, beside the model's own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from sparsemeta.nn.addressing import Addressing


@contextmanager
def usage_losses(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the `Addressing.usage_loss` of every memory of a model that runs inside this block.

    Masked steps count like others. Signed and dense addresses, no softmax, have no loss. Leave the
    block after the backward pass: a model that recomputes its activations then runs once more.

    Yields:
        A scalar for each memory and run, as it runs; add a little of their sum to the loss.

    >>> import torch
    >>> from sparsemeta.nn import MemoryConfig, SparseMemory
    >>> layer = SparseMemory(16, MemoryConfig(slots=64))
    >>> with usage_losses(layer) as losses:
    ...     y, _ = layer(torch.randn(1, 100, 16))
    ...     (y.square().mean() + 0.01 * sum(losses)).backward()
    >>> len(losses), layer.addressing.keys.grad.any().item()
    (1, True)
    """
    losses: list[Tensor] = []

    def used(addressing: Addressing, inputs: tuple[Tensor], _output: object) -> None:
        losses.append(addressing.usage_loss(*inputs))

    with ExitStack() as hooks:
        for module in model.modules():
            if isinstance(module, Addressing) and module.kind.softmax:
                hooks.callback(module.register_forward_hook(used).remove)
        yield losses
