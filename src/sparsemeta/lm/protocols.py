"""What reads texts, and what may learn beside it: the two sides of the loop in `reading`."""

from collections.abc import Iterator
from typing import Any, Protocol

from torch import Tensor

from sparsemeta.fast_weights import FastWeights


class Model(Protocol):
    """What reads: a `LanguageModel`, or one of the transformers library as `lm.load` wraps it."""

    longest: int | None
    """Most tokens that one call may read; None for any number."""

    @property
    def has_memory(self) -> bool:
        """Whether it remembers."""
        ...

    @property
    def context(self) -> str:
        """What it looks back on besides its memory, in words."""
        ...

    def read(
        self, tokens: Tensor, state: Any, *, empty: bool = False, donate: bool = False
    ) -> tuple[Tensor, Tensor, Any]:
        """Read tokens (T,) int64 of one stream.

        Args:
            tokens: what is read.
            state: the state before them; None is the start of a stream.
            empty: empty the memory, and nothing else, before the first of them.
            donate: allow the state to be overwritten.

        Returns:
            Logits (T, V), a function of tokens up to t alone; hidden states (T, D) that they were
            made from; and the state after, which has a method `detach`.
        """
        ...

    def begin(self, memory: FastWeights) -> Any:
        """The state in which a text begins that finds this memory: an empty attention window."""
        ...

    def nbytes(self, state: Any) -> int:
        """Size in bytes of what reading on needs of a state."""
        ...

    def parameters(self) -> Iterator[Any]:
        """As of any `nn.Module`."""
        ...


class Learner:
    """What adapts beside the model in one reading; as it stands, nothing does.

    Attributes:
        gradients: whether `learn` needs the graph of the logits.
        empties: whether the memory is emptied before each text.
        segment: tokens that it learns from at a time; None for any number.
        nbytes: size in bytes of what it carries.
    """

    gradients: bool = False
    empties: bool = False
    segment: int | None = None
    nbytes: int = 0

    def mix(self, log_p: Tensor, hidden: Tensor, targets: Tensor) -> Tensor:
        """The distribution (T, V) that is scored, from that of the model; both as log p.

        Args:
            log_p: (T, V).
            hidden: (T, D), the contexts.
            targets: (T,) int64, the token that follows each, to be used for later steps alone.
        """
        return log_p

    def learn(self, logits: Tensor, hidden: Tensor, targets: Tensor) -> None:
        """Learn from a segment, once it has been scored; arguments as of `mix`."""
