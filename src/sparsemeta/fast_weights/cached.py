"""`CachedStates`: the last hidden states, and the token that followed each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.base import FLOATS, LayerState, require_room


class CacheLayout(NamedTuple):
    """What a cache wants its state to be; a module says so by an attribute `layout`."""

    size: int  # W, how many states are kept
    width: int  # K, of each
    classes: int  # V: tokens are below

    @property
    def shape(self) -> tuple[int, int]:
        """Of a state, without B."""
        return self.size, self.width


@dataclass(frozen=True)
class CachedStates(LayerState):
    """The last W states of B streams, in a ring: the n-th since it was empty is at n modulo W.

    Attributes:
        key: (B, W, K), each as it is kept.
        token: (B, W) int64, what followed it.
        steps: (B,) int64, how many were written since the memory was empty.
    """

    layout_type: ClassVar[type] = CacheLayout
    parts: ClassVar[tuple[str, ...]] = ("key", "token", "steps")
    dtypes: ClassVar[Sequence[tuple[str, ...]]] = [(x, "I64", "I64") for x in FLOATS]

    key: Tensor
    token: Tensor
    steps: Tensor

    @classmethod
    def empty(cls, layout: CacheLayout, batch: int, like: Tensor) -> Self:
        """An empty one for B streams, of the dtype and on the device of a tensor."""
        key = like.new_zeros(batch, layout.size, layout.width)
        token = torch.zeros(batch, layout.size, dtype=torch.int64, device=like.device)
        return cls(key, token, token.new_zeros(batch))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(B, W, K)."""
        batch, size, width = self.key.shape
        return batch, size, width

    @property
    def place(self) -> Tensor:
        """(B, W) int64, which state since the memory was empty is at each place; -1 is none."""
        size, newest = self.key.shape[1], self.steps[:, None] - 1
        back = (newest - torch.arange(size, device=newest.device)) % size
        return (newest - back).clamp(min=-1)

    def append(
        self,
        key: Tensor,
        token: Tensor,
        written: Tensor,
        reset: Tensor | None = None,
        *,
        donate: bool = False,
    ) -> Self:
        """Write the states of a segment, one after the other.

        Args:
            key: (B, T, K).
            token: (B, T) int64.
            written: (B, T) bool, which of them are written.
            reset: (B, T) bool, True empties the stream before.
            donate: allow this state to be overwritten.
        """
        before = self
        if reset is not None:
            emptied = reset.long().cumsum(1)
            before, donate = self.reset(emptied[:, -1] > 0), True
            written = written & (emptied == emptied[:, -1:])
        number = before.steps[:, None] + written.long().cumsum(1) - 1
        return before._put(key, token, number.where(written, -1), number[:, -1] + 1, donate)

    def _put(self, key: Tensor, token: Tensor, number: Tensor, steps: Tensor, donate: bool) -> Self:
        """Write states where they are the n-th (B, T), of so many then (B,); -1 is not written."""
        size = self.key.shape[1]
        stream, t = (number >= (steps[:, None] - size).clamp(min=0)).nonzero(as_tuple=True)
        to = stream, number[stream, t] % size
        held = (self.key, self.token) if donate else (self.key.clone(), self.token.clone())
        for ring, new in zip(held, (key, token), strict=True):
            ring[to] = new[stream, t].to(ring.dtype)
        return type(self)(*held, steps)

    def stats(self) -> dict[str, float]:
        """States held, states written, bytes."""
        return {
            "rows": int((self.place >= 0).sum()),
            "steps": self.steps.float().mean().item(),
            "bytes": float(sum(tensor.nbytes for tensor in self.tensors().values())),
        }

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """Streams of several states of one layer side by side.

        Raises:
            StateError: the states differ in shape.
        """
        if len({part.shape[1:] for part in parts}) != 1:
            raise StateError("concat needs states of one model: their shapes differ")
        return cls(*(torch.cat([getattr(part, x) for part in parts]) for x in cls.parts))

    def reset(self, mask: Tensor) -> Self:
        """Empty the streams where `mask` (B,) is True."""
        mask = mask.to(self.steps.device)

        def clear(tensor: Tensor) -> Tensor:
            return torch.where(mask.view(-1, *[1] * (tensor.dim() - 1)), 0, tensor)

        return replace(self, **{name: clear(tensor) for name, tensor in self.tensors().items()})

    def diff(self, earlier: Self) -> dict[str, float]:
        """How many states were `added` and `removed`, and the L2 `norm` of all that."""
        moved, before = self.place != earlier.place, earlier.place >= 0
        return {
            "added": int((moved & (self.place >= 0)).sum()),
            "removed": int((moved & before).sum()),
            "changed": 0,
            "norm": (self.key - earlier.key)[moved].norm().item(),
        }

    def merge(self, other: Self, base: Self | None) -> Self:
        """This state, then what another kept since their common ancestor, as if read after it.

        Args:
            other: what was read after.
            base: what both began with; None is an empty memory.

        Raises:
            StateError: one of them has read less than the base.
        """
        begun = torch.zeros_like(self.steps) if base is None else base.steps
        if (self.steps < begun).any() or (other.steps < begun).any():
            raise StateError(
                "a memory has read less than the base, so it did not grow from it. Name the memory "
                "that both began with as the base, or none if they began empty."
            )
        since = other.place - begun[:, None]
        number = torch.where(since >= 0, self.steps[:, None] + since, -1)
        steps = self.steps + other.steps - begun
        return self._put(other.key, other.token, number, steps, donate=False)

    def stored(self) -> dict[str, Tensor]:
        """All but places that no stream has written; those of all streams one after the other."""
        used = min(int(self.steps.max()), self.key.shape[1])
        key, token = (ring[:, :used].flatten(0, 1) for ring in (self.key, self.token))
        return {"key": key, "token": token, "steps": self.steps}

    @classmethod
    def check_sizes(cls, shape: Sequence[int], sizes: Mapping[str, Sequence[int]]) -> None:
        """Raise `ValueError` unless stored parts of these sizes can be a state of this shape."""
        batch, size, width = shape
        (many,) = sizes["token"]
        found = [sizes[name] for name in cls.parts]
        if found != [[many, width], [many], [batch]] or many % batch:
            raise ValueError(f"parts of shapes {found}")
        if many > batch * size:
            raise ValueError(f"{many} states, but it keeps {size} for each stream")

    @classmethod
    def of_stored(
        cls, shape: Sequence[int], parts: Mapping[str, Tensor], layout: CacheLayout | None
    ) -> Self:
        """The inverse of `stored`."""
        key, token, steps = (parts[name] for name in cls.parts)
        batch, size, width = shape
        classes = 2**31 if layout is None else layout.classes
        require_room(batch * size * (width * key.itemsize + 8))
        key, token = key.view(batch, -1, width), token.view(batch, -1)
        if (steps < 0).any() or min(int(steps.max()), size) != key.shape[1]:
            raise ValueError("counts that are not those of its states")
        if (token < 0).any() or (token >= classes).any():
            raise ValueError("tokens that there are not")
        more = size - key.shape[1]
        return cls(pad(key, (0, 0, 0, more)), pad(token, (0, more)), steps)
