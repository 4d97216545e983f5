"""Folders of transformers: any causal model of theirs as one that reads; ours as theirs."""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, AutoTokenizer

from sparsemeta.errors import CheckpointError, ConfigError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.files import writable, write_folder
from sparsemeta.lm.checkpoint import find_model
from sparsemeta.lm.hf.modelling import SparseMetaForCausalLM
from sparsemeta.lm.hf.tokenizer import fast_tokenizer
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text import Tokenizer

UNLIMITED = 1024
"""Window of a model that names no longest sequence."""


@dataclass(frozen=True)
class WindowState:
    """The tokens (n,) in the window, and their keys and values as a cache of transformers."""

    tokens: Tensor
    past: Any

    def detach(self) -> Self:
        """The same state, cut off from the graph."""
        for layer, name, tensor in _tensors(self.past):
            setattr(layer, name, tensor.detach())
        return self


class PretrainedModel(nn.Module):
    """A causal model of transformers, which reads on from its keys and values.

    When its window of W positions is full, it begins anew from the last W/2 tokens, which are read
    again and not scored again. A model that takes no `past_key_values` reads up to W tokens again
    with every segment. Its output must have `logits` and `hidden_states`.
    """

    has_memory = False

    def __init__(self, model: Any):
        super().__init__()
        self.model = model
        self._window = getattr(model.config, "max_position_embeddings", None) or UNLIMITED
        self._keeps = "past_key_values" in inspect.signature(model.forward).parameters
        self._half = max(1, self._window // 2)
        self.longest: int | None = self._half
        self.context = f"attention: last {self._half} to {self._window} tokens, across texts"

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
        seen, past = (state.tokens, state.past) if state else (tokens[:0], None)
        if len(seen) + len(tokens) > self._window:
            seen, past = seen[-self._half :], None
        if self._keeps and past is None and len(seen):
            with torch.no_grad():
                past = self._call(seen, None).past_key_values
        out = self._call(tokens if self._keeps else torch.cat([seen, tokens]), past)
        kept = out.past_key_values if self._keeps else None
        logits, hidden = (found[0, -len(tokens) :] for found in (out.logits, out.hidden_states[-1]))
        predicted = logits[-steps:]
        if targets is not None:
            predicted = -cross_entropy(logits.float(), targets, reduction="none")
        return predicted, hidden, WindowState(torch.cat([seen, tokens]), kept)

    def begin(self, memory: FastWeights) -> WindowState:
        """Refuse, with a ConfigError: it has no memory."""
        raise ConfigError("a model of transformers begins with no memory: give it none.")

    def nbytes(self, state: WindowState) -> int:
        """Size of a state in bytes."""
        return state.tokens.nbytes + sum(tensor.nbytes for _, _, tensor in _tensors(state.past))

    def _call(self, tokens: Tensor, past: Any) -> Any:
        options = {"past_key_values": past, "use_cache": True} if self._keeps else {}
        return self.model(input_ids=tokens[None], output_hidden_states=True, **options)


class PretrainedTokenizer(Tokenizer):
    """A tokenizer of transformers; special tokens in a text are text."""

    def __init__(self, tokenizer: Any, vocab_size: int):
        self._tokenizer, self.vocab_size = tokenizer, vocab_size
        ends = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        found = [token for token in ends if token is not None]
        require(
            bool(found),
            "this tokenizer has neither bos_token nor eos_token to open a text with. Set one in "
            "its tokenizer_config.json.",
        )
        self._separator: int = found[0]

    @property
    def separator(self) -> int:
        """The beginning of a text, or else the end of one."""
        return self._separator

    def _encode(self, texts: Sequence[str], data: list[bytes]) -> list[np.ndarray]:
        options = {"add_special_tokens": False, "split_special_tokens": True, "verbose": False}
        encoded = self._tokenizer(list(texts), return_attention_mask=False, **options)
        return [np.array(ids, np.int32) for ids in encoded["input_ids"]]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids)

    def _to_json(self) -> str:
        backend = getattr(self._tokenizer, "backend_tokenizer", None)
        return backend.to_str() if backend else repr(self)  # which is like no other's


def load_pretrained(folder: Path) -> tuple[LanguageModel | PretrainedModel, Tokenizer]:
    """Read a model and its tokenizer; an exported model of ours comes as a `LanguageModel`.

    No code from the folder is run, and nothing is fetched.
    """
    try:
        local: Any = {"local_files_only": True}
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **local)
        tokenizer = AutoTokenizer.from_pretrained(folder, **local)
    except Exception as error:  # the library raises whatever its many parts do
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"{folder}: transformers cannot read it ({reason}). Give a folder that "
            "AutoModelForCausalLM and AutoTokenizer can load."
        ) from None
    ours = isinstance(model, SparseMetaForCausalLM)
    read = model.model if ours else PretrainedModel(model.eval())
    return read, PretrainedTokenizer(tokenizer, model.config.vocab_size)


def export(source: Path, folder: Path) -> None:
    """Write what `AutoModelForCausalLM` and `AutoTokenizer` read; a kill leaves no half of it.

    Args:
        source: a model folder, or a run folder: then its best checkpoint.
        folder: where to, new or empty.
    """
    source = find_model(source)
    require(
        not folder.exists() or (folder.is_dir() and not any(folder.iterdir())),
        f"{folder}: is there already. Name a new folder.",
    )
    model = SparseMetaForCausalLM.from_checkpoint(source)
    tokenizer = fast_tokenizer(source / "tokenizer.json", model.config.bos_token_id)
    with writable(folder), write_folder(folder) as aside:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)


def _tensors(past: Any) -> list[tuple[Any, str, Tensor]]:
    """Where a cache of transformers holds tensors."""
    layers = [] if past is None else past.layers
    return [(at, k, v) for at in layers for k, v in vars(at).items() if isinstance(v, Tensor)]
