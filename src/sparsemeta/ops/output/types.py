"""The words of the row memory: `Outcomes` are written into `Rows`, which give `Scores`.

Axes: B batch, T time, H heads, K width of a row per head, V classes, C rows held.
"""

from typing import NamedTuple, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

EPOCH = 2**24
"""Steps; float32 holds a stamp exactly within the first, and then to one part in as many."""


class Outcomes(NamedTuple):
    r"""What T steps do to a row memory: each writes the row of the class that came, then reads all.

    Attributes:
        observed: (B, T) int64, the class that came, $x_t$; or the row that it has in a table.
        key: (B, T, H, K), the context that predicted it, $k_t$.
        rate: (B, T, H) in [0, 1], how strongly it is written, $\beta_t$; 0 writes nothing.
        query: (B, T, H, K), the context of the next prediction, $q_t$.
        log_retention: (H,) <= 0, $\log \lambda$: what every row keeps over a step.
    """

    observed: Int[Tensor, "B T"]
    key: Float[Tensor, "B T H K"]
    rate: Float[Tensor, "B T H"]
    query: Float[Tensor, "B T H K"]
    log_retention: Float[Tensor, " H"]


class Rows(NamedTuple):
    r"""The rows held, each as it was when last written: $\lambda^{clock - stamp}$ of it is left.

    Attributes:
        table: (B, C, H K + 1), their contents then, and as the last number the stamp, which is the
            step when that was, divided by `EPOCH`; all zero where nothing was written.
        clock: (B,) int64, real steps since the memory was empty.
    """

    table: Float[Tensor, "B C width"]
    clock: Int[Tensor, " B"]

    @property
    def stamp(self) -> Int[Tensor, "B C"]:
        """The step at which each was written."""
        return (self.table[..., -1].detach() * EPOCH).round().long()

    def contents(self, heads: int) -> Float[Tensor, "B C H K"]:
        """What each was when it was written."""
        return self.table[..., :-1].unflatten(2, (heads, -1))

    def now(self, log_retention: Float[Tensor, " H"]) -> Float[Tensor, "B C H K"]:
        """What is left of each."""
        idle = (self.clock[:, None] - self.stamp)[..., None]
        return (log_retention * idle).exp()[..., None] * self.contents(len(log_retention))


class Scores(NamedTuple):
    """What a row memory adds to the logits of classes; to those that never came it adds nothing.

    A class may be named several times: its scores add up.

    Attributes:
        score: of some rows each, (B, T, N).
        classes: (B, N) int64 each, what they are rows of; V where a row is free: it scores 0.
    """

    score: tuple[Float[Tensor, "B T _"], ...]
    classes: tuple[Int[Tensor, "B _"], ...]

    def at(self, steps: slice | Tensor) -> Self:
        """Those of some of the steps."""
        return self._replace(score=tuple([score[:, steps] for score in self.score]))

    def add_to(self, logits: Float[Tensor, "B T V"]) -> Float[Tensor, "B T V"]:
        """Add them to logits, in place."""
        last = logits.shape[-1] - 1  # a free row scores 0: that may be added anywhere
        for score, classes in zip(*self, strict=True):
            column = classes.clamp(max=last)[:, None].expand_as(score)
            logits.scatter_add_(2, column, score.to(logits.dtype))
        return logits

    def of(self, target: Int[Tensor, "B T"]) -> Float[Tensor, "B T"]:
        """What is added to the logit of one class at each step."""
        found = torch.zeros_like(target, dtype=torch.float32)
        for score, classes in zip(*self, strict=True):
            found = found + score.where(classes[:, None] == target[..., None], 0).sum(-1)
        return found
