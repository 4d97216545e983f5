"""`MemoryCache`: attention window and memory as one `past_key_values`, which `generate` carries.

The one file that knows how caches of transformers are made.
"""

import copy
from typing import Any, Self

import torch
from torch import Tensor

from sparsemeta.augmented.passes import Carried, Pass, begin_pass, end_pass
from sparsemeta.augmented.sessions import augmentation, taken_over
from sparsemeta.errors import MissingExtra, StateError
from sparsemeta.fast_weights import FastWeights

try:
    from transformers import DynamicCache
except ImportError:
    raise MissingExtra("transformers", "hf") from None


class MemoryCache(DynamicCache):
    """What an augmented causal language model carries: pass it as `past_key_values`.

    Every forward pass given it moves it on, also those of `generate`, with beams and several
    sequences for a stream. The last token that `generate` writes is read by the next call that is
    given the whole sequence. Where a stream of a batch has ended, by the model's own
    `generation_config`, the padding after it is not read.

    Args:
        model: the augmented model.
        memory: what it begins with, or what a session `carried`; None is an empty memory.
        write: whether what comes is written, or for which of the streams (B,) bool.

    Attributes:
        targets: (B, T) int64, the token that follows each, where its log p is all that is wanted of
            the next pass: that is cheaper than whole distributions.
        log_p: (B, T) of those targets, after that pass. Its logits are those without tables.
        emptied: (B, T) bool, True empties the memory, and not the attention window, before that
            step of the next pass.

    Raises:
        ConfigError: the model is not augmented.
        StateError: the memory is another model's.
    """

    def __init__(
        self,
        model: Any,
        memory: FastWeights | Carried | None = None,
        *,
        write: bool | Tensor = True,
    ):
        owner = augmentation(model)
        super().__init__(config=model.config)
        self.write = write
        self.targets: Tensor | None = None
        self.log_p: Tensor | None = None
        self.emptied: Tensor | None = None
        self._carried = taken_over(owner, memory)
        self._shared = True  # what is carried is somebody else's too: not to be overwritten
        self._failed = False
        self._ended: list[bool] | None = None  # which streams have read what ends them

    @property
    def memory(self) -> FastWeights | None:
        """What the streams have taught the model; None before anything was read."""
        self._shared = True
        return self._carried and self._carried.memory

    def start(self, model: Any, tokens: Tensor, mask: Tensor | None) -> Pass:
        """A pass of the model over tokens (B, T)."""
        if self._failed:
            raise StateError(
                "an earlier pass with this MemoryCache failed part way, and left half of a step in "
                "it. Go on from a copy made before (copy.deepcopy), or from a saved memory."
            )
        self._expand(tokens)
        donate = not self._shared and not torch.is_grad_enabled()
        mask = self._running(model, tokens, mask)
        told: dict[str, Any] = {"mask": mask, "write": self.write, "targets": self.targets}
        told |= {"reset": self.emptied, "donate": donate}
        return Pass(self, self._carried, len(tokens), **told)

    def commit(self, after: Carried, log_p: Tensor | None) -> None:
        """Take over what a pass has left."""
        self._carried, self._shared = after, False
        self.log_p, self.targets, self.emptied = log_p, None, None

    def abandon(self) -> None:
        """Be of no more use: some layers have read a step and others not."""
        self._failed = True

    def detach(self) -> None:
        """Go on from the same memory without its gradients; keys and values stay as they are."""
        self._carried = self._carried and self._carried.detach()

    @torch.no_grad()
    def slide(self, model: Any, tokens: Tensor) -> None:
        """Let the attention window be these tokens alone.

        They were read before, and are not learned again: for models whose window has an end.

        Args:
            model: the augmented model.
            tokens: (B, T), the last ones that were read.
        """
        owner, window = augmentation(model), DynamicCache(config=model.config)
        now = Pass(self, self._carried, len(tokens), write=False, tokens=tokens)
        begin_pass(owner, now)
        try:
            model.base_model(input_ids=tokens, past_key_values=window, use_cache=True)
        finally:
            end_pass(owner)
        self.layers = window.layers

    def _expand(self, tokens: Tensor) -> None:
        """One stream for each of the sequences that `generate` makes of it."""
        streams = self._streams or len(tokens)
        times = len(tokens) // streams
        if len(tokens) == streams * times and times > 1:
            same = tokens.unflatten(0, (streams, times))
            if (same == same[:, :1]).all():
                self.batch_repeat_interleave(times)

    @property
    def _streams(self) -> int | None:
        """How many it has, if it knows."""
        if self._carried is not None:
            return self._carried.memory.batch
        return len(self.write) if isinstance(self.write, Tensor) else None

    def _running(self, model: Any, tokens: Tensor, mask: Tensor | None) -> Tensor | None:
        """The mask without what pads a stream that has ended, as `generate` goes on with others."""
        config = model.generation_config
        ends, pad = _listed(config.eos_token_id), _listed(config.pad_token_id)
        if not ends or tokens.shape[1] > 1:
            self._ended = None
            return mask
        came = tokens[:, 0].tolist()
        ended = self._ended or [False] * len(came)
        padding = [was and token in (pad or ends) for was, token in zip(ended, came, strict=True)]
        self._ended = [was or token in ends for was, token in zip(padding, came, strict=True)]
        if not any(padding):
            return mask
        real = ~torch.tensor(padding, device=tokens.device)[:, None]
        return real if mask is None else mask & real

    def _select(self, rows: Tensor) -> None:
        if self._carried is not None:
            self._carried, self._shared = self._carried.select(rows), False
        if isinstance(self.write, Tensor):
            self.write = self.write[rows.to(self.write.device)]
        self._ended = self._ended and [self._ended[row] for row in rows.tolist()]

    def reorder_cache(self, beam_idx: torch.LongTensor) -> None:
        """Go on with other streams, for beam search."""
        super().reorder_cache(beam_idx)
        self._select(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some of the streams, some perhaps more than once."""
        super().batch_select_indices(indices)
        self._select(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Every stream `repeats` times."""
        super().batch_repeat_interleave(repeats)
        if self._streams is not None:
            self._select(torch.arange(self._streams).repeat_interleave(repeats))

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._carried, self._ended, self._failed = None, None, False

    @property
    def is_croppable(self) -> bool:
        """No: see `crop`."""
        return False

    def crop(self, tokens_to_remove: int) -> None:
        """Refuse, with a StateError."""
        raise StateError(
            "a memory cannot be rolled back: what a step wrote over is gone. Keep a copy from "
            "before (copy.deepcopy of the cache, or its memory) and go on from there; assisted "
            "decoding needs a model without memory (strip, memory_off)."
        )

    def activate_past_recording(self) -> None:
        """Refuse, with a StateError: assisted decoding would `crop`."""
        self.crop(0)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        made = copy.copy(self)
        made.layers = copy.deepcopy(self.layers, memo)
        made._carried = self._carried and self._carried.clone()
        made._shared = False
        return made


def _listed(token: Any) -> list[int]:
    """Token ids, which may be one, several or none, also as a tensor."""
    found = token.tolist() if isinstance(token, Tensor) else token
    return [] if found is None else list(found) if isinstance(found, (list, tuple)) else [found]
