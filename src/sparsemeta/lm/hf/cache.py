"""`FastWeightCache`: what `generate` carries from token to token.

The caches of transformers do not fit: their recurrent layers hand back nothing unless a
convolution has marked them as filled, so that a memory kept there would silently be lost.
"""

import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from transformers import Cache

from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.modelling import LMState


def merge(state: LMState | None, memory: FastWeights | None) -> LMState | None:
    """A state with another memory, if there is one."""
    if memory is None:
        return state
    return LMState(memory) if state is None else replace(state, memory=memory)


class FastWeightCache(Cache):
    """A model's state, which every forward pass given it as `past_key_values` puts a newer one in.

    `generate` leaves the last token that it wrote unread: the next call, given the whole sequence
    so far, reads it first. Where a stream of a batch ends before the others, what follows is
    padding and is not read.

    Args:
        memory: the memory to begin with; None is an empty one.

    Attributes:
        state: memory and attention window; None before anything was read.
    """

    # As if the user had made it: else, on some devices, `generate` reads a token too many.
    _is_user_defined = True

    def __init__(self, memory: FastWeights | None = None):
        super().__init__(layers=[])
        self.state = merge(None, memory)
        self._length = 0  # steps read, padding included
        self._last: Tensor | None = None  # (B,), the token read last
        self._ends: Tensor | None = None  # what ends a stream, in this call of `generate`
        self._ended: Tensor | None = None  # (B,) bool, which streams have read such a token

    @property
    def memory(self) -> FastWeights | None:
        """What the streams have taught the model; None before anything was read."""
        return None if self.state is None else self.state.memory

    def advance(self, state: LMState, tokens: Tensor) -> None:
        """Take over the state after a segment (B, T)."""
        self.state, self._last = state, tokens[:, -1]
        self._length += tokens.shape[1]

    def begin(self, ends: Tensor | None, memory: FastWeights | None) -> None:
        """Begin a call of `generate`.

        Args:
            ends: (any,) int64, the tokens that end a stream.
            memory: wins over the one that is here.
        """
        self._ends, self._ended = ends, None
        if memory is not None:
            self.state = merge(self.state, memory)

    def running(self, tokens: Tensor) -> Tensor:
        """Which streams (B,) have not ended before these tokens (B, 1), which are to be read."""
        ended = torch.zeros_like(tokens[:, 0], dtype=torch.bool)
        if self._ended is not None:
            ended = self._ended
        if self._ends is not None:
            self._ended = ended | torch.isin(tokens[:, 0], self._ends.to(tokens.device))
        return ~ended

    def require_read(self, tokens: Tensor) -> None:
        """Refuse whole sequences (B, S) that cannot begin with what was read.

        Raises:
            StateError: they are no longer than that, or have another token at its end.
        """
        length = self._length
        if self._last is None:
            return
        if tokens.shape[1] <= length or not torch.equal(tokens[:, length - 1], self._last):
            raise StateError(
                "input_ids do not begin with what this cache has read. Give the whole sequences "
                "so far, as `generate` returned them, with new tokens after them; or only the new "
                "tokens, with an attention_mask as long as the whole. For another text, pass "
                "memory=cache.memory and no cache."
            )

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Steps read, padding included."""
        return self._length

    def get_max_length(self, layer_idx: int | None = None) -> int:
        """There is none: -1."""
        return -1

    @property
    def batch_size(self) -> int:
        """Streams, or -1 before anything was read."""
        return -1 if self.state is None else self.state.batch

    @property
    def is_croppable(self) -> bool:
        """No: see `crop`."""
        return False

    def reset(self) -> None:
        """Forget everything."""
        self.__init__()

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some of the streams, some perhaps more than once."""
        self.state = None if self.state is None else self.state.select(indices)
        self._last = None if self._last is None else self._last[indices]
        self._ended = None if self._ended is None else self._ended[indices]

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """The same, for beam search."""
        self.batch_select_indices(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every stream `repeats` times."""
        if self.state is not None:
            rows = torch.arange(self.state.batch).repeat_interleave(repeats)
            self.batch_select_indices(rows)

    def crop(self, tokens_to_remove: int) -> None:
        """Refused.

        Raises:
            StateError: always.
        """
        raise StateError(
            "a memory cannot be rolled back: what a step wrote over is gone. Keep a copy from "
            "before (copy.deepcopy of the cache, or its memory) and go on from there."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = copy.copy(self)
        made.state = None if self.state is None else self.state.clone()
        return made


def require_ours(cache: Any) -> FastWeightCache:
    """Refuse a cache that keeps no memory.

    Raises:
        ConfigError: it is of another kind.
    """
    require(
        isinstance(cache, FastWeightCache),
        f"past_key_values is a {type(cache).__name__}, which keeps no memory: pass the "
        "FastWeightCache that the model returned, or none",
    )
    return cache
