"""`generate` for a model with memory, and `FastWeightCache`: what it carries from token to token.

The caches of transformers do not fit: their recurrent layers hand back nothing unless a
convolution has marked them as filled, so that a memory kept there would silently be lost.
"""

# The methods' types are those of transformers' own models; ours take what this one uses.
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false

import copy
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor
from transformers import Cache, GenerationConfig, GenerationMixin

from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.state import LMState


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

    It begins with a `memory`, or with an empty one; before anything is read, `state` may be None.
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
        return self.state and self.state.memory

    def advance(self, state: LMState, tokens: Tensor) -> None:
        """Take over the state after a segment (B, T)."""
        self.state, self._last = state, tokens[:, -1]
        self._length += tokens.shape[1]

    def begin(self, ends: Tensor | None, memory: FastWeights | None) -> None:
        """Begin a call of `generate`: `ends` end a stream, `memory` wins over the one here."""
        self._ends, self._ended = ends, None
        self.state = merge(self.state, memory)

    def running(self, tokens: Tensor) -> Tensor:
        """Which streams (B,) have not ended before these tokens (B, 1), which are to be read."""
        nobody = torch.zeros_like(tokens[:, 0], dtype=torch.bool)
        ended = nobody if self._ended is None else self._ended
        if self._ends is not None:
            self._ended = ended | torch.isin(tokens[:, 0], self._ends.to(tokens.device))
        return ~ended

    def require_read(self, tokens: Tensor) -> None:
        """Refuse whole sequences (B, S) that do not begin with what was read."""
        length, last = self._length, self._last
        if last is not None and (
            tokens.shape[1] <= length or not torch.equal(tokens[:, length - 1], last)
        ):
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
        self.state = self.state and self.state.select(indices)
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
        """Refuse, with a StateError."""
        raise StateError(
            "a memory cannot be rolled back: what a step wrote over is gone. Keep a copy from "
            "before (copy.deepcopy of the cache, or its memory) and go on from there."
        )

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = copy.copy(self)
        made.state = self.state and self.state.clone()
        return made


def require_ours(cache: Any) -> FastWeightCache:
    """Refuse a cache that keeps no memory."""
    require(
        isinstance(cache, FastWeightCache),
        f"past_key_values is a {type(cache).__name__}, which keeps no memory: pass the "
        "FastWeightCache that the model returned, or none",
    )
    return cache


class MemoryGenerationMixin(GenerationMixin):
    """Carries memory and window in a `FastWeightCache`, whoever made it."""

    def _expand_inputs_for_generation(self, expand_size: int = 1, **inputs: Any) -> Any:
        """One row for every beam or sequence to return, of the memory and the cache too."""
        input_ids, inputs = super()._expand_inputs_for_generation(expand_size, **inputs)
        if expand_size > 1:
            if (memory := inputs.get("memory")) is not None:
                rows = torch.arange(memory.batch).repeat_interleave(expand_size)
                inputs["memory"] = memory.select(rows)
            if (cache := inputs.get("past_key_values")) is not None:
                cache.batch_repeat_interleave(expand_size)
        return input_ids, inputs

    def _prepare_cache_for_generation(
        self, generation_config: GenerationConfig, model_kwargs: dict[str, Any], *_: Any
    ) -> None:
        """Our cache, which begins with the memory that was passed."""
        require(
            generation_config.cache_implementation is None,
            f"cache_implementation = {generation_config.cache_implementation!r} keeps no memory: "
            "leave it out, and a FastWeightCache is used",
        )
        if not generation_config.use_cache:
            return
        if model_kwargs.get("past_key_values") is None:
            model_kwargs["past_key_values"] = FastWeightCache()
        cache = require_ours(model_kwargs["past_key_values"])
        cache.begin(generation_config._eos_token_tensor, model_kwargs.pop("memory", None))

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        next_sequence_length: int | None = None,
        past_key_values: FastWeightCache | None = None,
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """The tokens that were not read yet, and what goes with them."""
        if past_key_values is not None and is_first_iteration and next_sequence_length is not None:
            past_key_values.require_read(input_ids)
        given = (input_ids, next_sequence_length, past_key_values)
        kwargs["is_first_iteration"] = is_first_iteration
        made = super().prepare_inputs_for_generation(*given, **kwargs)
        if past_key_values is not None and not is_first_iteration:
            made["attention_mask"] = past_key_values.running(made["input_ids"])[:, None]
            made["donate"] = True  # the state is `generate`'s own since the first iteration
        return made
