"""`AdaptiveLayer`: what has fast weights, and can be switched off."""

from abc import abstractmethod
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from torch import nn

from sparsemeta.fast_weights import FastWeights


class AdaptiveLayer(nn.Module):
    """A layer whose fast weights are passed to it, and handed back, as `FastWeights`.

    Attributes:
        kind: what it is called where kinds of memory are told apart.
        enabled: whether it reads and writes; else it is as if it were not there.
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.enabled = True

    @property
    @abstractmethod
    def layout(self) -> Any:
        """The shape and form of its state, a value that can be compared."""

    @abstractmethod
    def initial_state(self, batch: int) -> FastWeights:
        """An empty memory for B streams."""


@contextmanager
def memory_off(model: nn.Module, kinds: Collection[str] | None = None) -> Iterator[None]:
    """Run a model without its memories, or those of some kinds, inside this block.

    They neither read nor write; without any, it is its base network.
    """
    layers = [m for m in model.modules() if isinstance(m, AdaptiveLayer)]
    before = [(m, m.enabled) for m in layers if kinds is None or m.kind in kinds]
    try:
        for layer, _ in before:
            layer.enabled = False
        yield
    finally:
        for layer, enabled in before:
            layer.enabled = enabled
