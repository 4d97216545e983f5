"""A causal language model of transformers with an adapter, as one that reads: see `Model`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, rms_norm

from sparsemeta.augmented import MemoryCache, load_adapter, memories, named_memories
from sparsemeta.errors import ConfigError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.hf.pretrained import PretrainedModel, WindowState
from sparsemeta.nn import AdaptiveLayer
from sparsemeta.run import newest


class MemoryState(WindowState):
    """The tokens in the window, and a `MemoryCache`."""

    @property
    def memory(self) -> FastWeights | None:
        """What was learned so far."""
        return self.past.memory

    def detach(self) -> Self:
        """The same state, cut off from the graph."""
        self.past.detach()
        return super().detach()


class AugmentedModel(PretrainedModel):
    """An augmented causal model of transformers, which reads on from its `MemoryCache`.

    Its attention window is that of any `PretrainedModel`. What is read again when the window begins
    anew is not learned again.
    """

    has_memory = True

    @property
    def keeper(self) -> nn.Module:
        """What a memory is saved for: its own weights, without those of the base."""
        return memories(self.model)

    def memories(self) -> Iterator[tuple[str, AdaptiveLayer]]:
        """Its memories, and what each is called in a state."""
        return iter(named_memories(self.model).items())

    def read(
        self,
        tokens: Tensor,
        state: WindowState | None,
        *,
        targets: Tensor | None = None,
        steps: int = 0,
        empty: bool = False,
        donate: bool = False,
    ) -> tuple[Tensor, Tensor, WindowState]:
        """Read tokens (T,) of one stream; arguments and result as of `reading.Model.read`."""
        seen, cache = (state.tokens, state.past) if state else (tokens[:0], MemoryCache(self.model))
        if len(seen) + len(tokens) > self._window:
            seen = seen[-self._half :]
            cache.slide(self.model, seen[None])
        cache.log_p, cache.targets = None, None if targets is None else targets[None]
        if empty:
            cache.emptied = (torch.arange(len(tokens), device=tokens.device) == 0)[None]
        kept = {"logits_to_keep": steps} if targets is None else {}
        options: dict[str, Any] = {"past_key_values": cache, "output_hidden_states": True}
        out = self.model(input_ids=tokens[None], use_cache=True, **options, **kept)
        predicted = out.logits[0, -steps:]
        if cache.log_p is not None:
            predicted = cache.log_p[0]
        elif targets is not None:  # its memories are off
            predicted = -cross_entropy(predicted.float(), targets, reduction="none")
        hidden = out.hidden_states[-1][0]
        after = MemoryState(torch.cat([seen, tokens]), cache)
        return predicted, rms_norm(hidden, hidden.shape[-1:]), after

    def begin(self, memory: FastWeights) -> WindowState:
        """The state in which a text begins: a memory and an empty attention window."""
        nothing = torch.zeros(0, dtype=torch.int64, device=self.model.device)
        return MemoryState(nothing, MemoryCache(self.model, memory))

    def nbytes(self, state: WindowState) -> int:
        """Size of what reading on needs of a state, in bytes: no memory that is off."""
        memory = state.past.memory
        on = [name for name, layer in self.memories() if layer.enabled] if memory else []
        return super().nbytes(state) + sum(memory.child(name).nbytes for name in on)


def with_adapter(model: nn.Module, folder: Path) -> AugmentedModel:
    """Give a model of transformers an adapter.

    Args:
        model: as `load` makes it.
        folder: of a run of `sparsemeta augment`, or what `save_adapter` has written.

    Raises:
        CheckpointError: the adapter is damaged, or belongs to another model.
        ConfigError: the model has memories of its own.
    """
    if not isinstance(model, PretrainedModel):
        raise ConfigError(
            f"{folder}: an adapter is for a causal language model of transformers; this model has "
            "memories of its own, which `sparsemeta train` trains."
        )
    # A run stands for its newest checkpoint. All is trainable, for arms that change weights.
    load_adapter(model.model, newest(folder / "checkpoints") or folder).requires_grad_(True)
    return AugmentedModel(model.model)
