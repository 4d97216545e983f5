"""`generate` for a model with memory: the only file that knows how transformers calls it."""

# The methods' types are those of transformers' own models; ours take what this one uses.
# pyright: reportIncompatibleMethodOverride=false, reportAttributeAccessIssue=false

from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, GenerationMixin

from sparsemeta.errors import require
from sparsemeta.lm.hf.cache import FastWeightCache, require_ours


class MemoryGenerationMixin(GenerationMixin):
    """Carries memory and window in a `FastWeightCache`, whoever made it."""

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, **inputs: Any
    ) -> tuple[Tensor, dict[str, Any]]:
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
        made = super().prepare_inputs_for_generation(
            input_ids,
            next_sequence_length=next_sequence_length,
            past_key_values=past_key_values,
            is_first_iteration=is_first_iteration,
            **kwargs,
        )
        if past_key_values is not None and not is_first_iteration:
            made["attention_mask"] = past_key_values.running(made["input_ids"])[:, None]
            made["donate"] = True  # the state is `generate`'s own since the first iteration
        return made
