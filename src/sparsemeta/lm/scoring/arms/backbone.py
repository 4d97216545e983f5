"""What an arm needs of a model: read a segment, hand out hidden states, carry a state."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sparsemeta.lm.modelling import LanguageModel, LMState


class Read(NamedTuple):
    """What came of reading T tokens."""

    logits: Tensor  # (T, V), a function of tokens up to t alone
    hidden: Tensor  # (T, D), what the logits were made from
    state: Any


class Backbone(ABC):
    """A model as the arms see it, one stream at a time."""

    model: Any
    """The `nn.Module` whose weights dynamic evaluation changes."""
    has_memory: bool
    context: str
    """What the model itself looks back on, in words."""
    longest: int | None = None
    """Most tokens that one call may read; None for any number."""

    @abstractmethod
    def read(self, tokens: Tensor, state: Any, *, empty: bool) -> Read:
        """Read tokens (T,) int64; `state` may be overwritten, None is the start of a stream.

        `empty` empties the memory before the first of them, and nothing else.
        """

    @abstractmethod
    def detach(self, state: Any) -> Any:
        """The same state, cut off from the graph."""

    @abstractmethod
    def nbytes(self, state: Any, *, memory: bool) -> int:
        """Size of the state in bytes, with or without that of the memory."""


class OwnBackbone(Backbone):
    """A `LanguageModel` as a backbone."""

    def __init__(self, model: LanguageModel):
        self.model = model
        self.has_memory = bool(model.config.memory_layers)
        self.context = f"attention: last {model.config.window} tokens, across texts"

    def read(self, tokens: Tensor, state: LMState | None, *, empty: bool) -> Read:
        """See `Backbone`."""
        tokens, reset = tokens[None], None
        if empty:
            reset = torch.zeros_like(tokens, dtype=torch.bool)
            reset[:, 0] = True
        hidden, after = self.model.hidden(tokens, state, reset=reset, donate=True)
        return Read(self.model.head(hidden)[0], hidden[0], after)

    def detach(self, state: LMState) -> LMState:
        """See `Backbone`."""
        return state.detach()

    def nbytes(self, state: LMState, *, memory: bool) -> int:
        """See `Backbone`."""
        return state.nbytes - (0 if memory else state.memory.nbytes)


def backbone_of(model: nn.Module) -> Backbone:
    """The backbone of a `LanguageModel` or of a causal model of the transformers library."""
    if isinstance(model, LanguageModel):
        return OwnBackbone(model)
    from sparsemeta.lm.scoring.arms.pretrained import PretrainedBackbone

    return PretrainedBackbone(model)
