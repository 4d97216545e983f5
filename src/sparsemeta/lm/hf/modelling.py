"""`SparseMetaForCausalLM`: a `LanguageModel` as transformers wants it, and its configuration."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor, nn
from torch.nn.functional import pad
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils.generic import ModelOutput, can_return_tuple

from sparsemeta.config import MemoryConfig, RowsConfig, TablesConfig, from_dict, to_dict
from sparsemeta.errors import CheckpointError, StateError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.checkpoint import load_model
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.hf.generation import FastWeightCache, MemoryGenerationMixin, merge, require_ours
from sparsemeta.lm.modelling import LanguageModel

_INITIALISED = "_is_hf_initialized"  # how transformers marks a weight that has its values


class SparseMetaConfig(PreTrainedConfig):
    """An adaptive language model: the fields of `ModelConfig`, its memories' as dictionaries.

    `use_cache` is whether a forward pass outside training returns a `FastWeightCache`.
    """

    model_type: ClassVar[str] = "sparsemeta"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "width",
        "num_hidden_layers": "layers",
        "num_attention_heads": "heads",
    }
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values", "memory"]

    vocab_size: int = 257
    layers: int = ModelConfig.layers
    width: int = ModelConfig.width
    heads: int = ModelConfig.heads
    window: int = ModelConfig.window
    mlp: str = ModelConfig.mlp
    mlp_width: int = ModelConfig.mlp_width
    bias: bool = ModelConfig.bias
    memory_layers: list[int] | tuple[int, ...] = ModelConfig.memory_layers
    memory: dict[str, Any] = field(default_factory=lambda: to_dict(MemoryConfig()))
    output: list[str] | tuple[str, ...] = ModelConfig.output
    rows: dict[str, Any] = field(default_factory=lambda: to_dict(RowsConfig()))
    tables: dict[str, Any] = field(default_factory=lambda: to_dict(TablesConfig()))
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = True
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        self.memory_layers, self.output = list(self.memory_layers), list(self.output)
        super().__post_init__(**kwargs)
        self.to_model()

    @classmethod
    def from_model(cls, model: ModelConfig, vocab_size: int, **others: Any) -> Self:
        """The configuration of a model of ours; `others` are fields that ours has not."""
        return cls(vocab_size=vocab_size, **to_dict(model), **others)

    def to_model(self) -> ModelConfig:
        """The inverse of `from_model`."""
        names = (f.name for f in dataclasses.fields(ModelConfig))
        return from_dict({name: getattr(self, name) for name in names}, ModelConfig)


@dataclass
class CausalLMOutputWithMemory(ModelOutput):
    """What a forward pass returns.

    The loss, mean cross entropy in nats, if there were labels; logits (B, T, vocab_size), or the
    last steps of it, but none in training with labels; the fast weights after the segment; the
    cache, if one is used.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    memory: FastWeights | None = None
    past_key_values: FastWeightCache | None = None


class SparseMetaForCausalLM(PreTrainedModel, MemoryGenerationMixin):
    """An adaptive language model; the network itself, a `LanguageModel`, is its `model`.

    A memory of `model` is a memory of this: the files are the same.
    """

    config_class = SparseMetaConfig
    supports_gradient_checkpointing = True
    accepts_loss_kwargs = True
    _is_stateful = True  # so that assisted decoding is refused
    _supports_sdpa = True
    _no_split_modules = ["Block"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values", "memory"]  # noqa: RUF012
    _tied_weights_keys = {"model.head.weight": "model.embedding.weight"}  # noqa: RUF012

    def __init__(self, config: SparseMetaConfig):
        super().__init__(config)
        self.model = LanguageModel(config.to_model(), config.vocab_size)
        if self.device.type != "meta":  # else the values come from a file
            for parameter in self.parameters():
                setattr(parameter, _INITIALISED, True)
        self.post_init()

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> Self:
        """A model of ours, from its folder or the folder of a run: then its best checkpoint."""
        model, tokenizer = load_model(path)
        names = ("bos_token_id", "eos_token_id", "pad_token_id")
        separators = dict.fromkeys(names, tokenizer.separator)
        config = SparseMetaConfig.from_model(model.config, model.vocab_size, **separators)
        made = cls(config).eval()
        made.model.load_state_dict(model.state_dict())
        return made

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        memory: FastWeights | None = None,
        past_key_values: FastWeightCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        num_items_in_batch: Tensor | int | None = None,
        donate: bool = False,
        **unsupported: Any,
    ) -> CausalLMOutputWithMemory:
        """Read a segment and predict, at each step, the token that follows.

        Args:
            input_ids: (B, T) int64.
            attention_mask: (B, T or more), 0 where a token is padding, which is as if it were not
                there; the last T count.
            memory: the fast weights to begin with; they win over those of the cache.
            past_key_values: what an earlier segment left; it takes over the state after this one.
            labels: (B, T) int64, the tokens themselves; -100 where none is to be predicted.
            use_cache: whether to return a cache; the configuration's choice if None, but not in
                training. Where False, a cache that is given is read and left as it is.
            logits_to_keep: how many of the last steps to compute logits of, or which; 0 is all.
            num_items_in_batch: what to divide the loss by; the number of labels if None.
            donate: allow the state passed in to be overwritten, which saves copying its tables.
            unsupported: other arguments that transformers may pass, which must be None or False.
        """
        given = [k for k, value in unsupported.items() if not (value is None or value is False)]
        require(not given, f"SparseMetaForCausalLM takes no {', '.join(given)}: leave it out")
        state = None if past_key_values is None else require_ours(past_key_values).state
        state = merge(state, memory)
        if state is not None and state.batch != len(input_ids):
            raise StateError(
                f"the memory or cache holds {state.batch} streams but input_ids has "
                f"{len(input_ids)} rows: give one row for each stream"
            )
        mask = _real(attention_mask, input_ids)
        some = isinstance(logits_to_keep, int)
        options = {"steps": logits_to_keep if some else 0, "mask": mask, "donate": donate}
        if labels is None:
            loss, (logits, after) = None, self.model(input_ids, state, **options)
        else:
            follows = pad(labels[:, 1:], (0, 1), value=-100)
            asked, targets = follows != -100, follows.clamp(min=0)
            log_p, after = self.model(input_ids, state, mask=mask, targets=targets)
            items = asked.sum() if num_items_in_batch is None else num_items_in_batch
            loss = -log_p[asked].sum() / items
            # Training needs no whole distribution.
            logits = None if self.training else self.model(input_ids, state, **options)[0]
        if logits is not None and not some:
            logits = logits[:, logits_to_keep]
        if use_cache is None:
            use_cache = self.config.use_cache and not self.training
        if use_cache:
            past_key_values = FastWeightCache() if past_key_values is None else past_key_values
            past_key_values.advance(after, input_ids)
        kept = past_key_values if use_cache else None
        return CausalLMOutputWithMemory(loss, logits, after.memory, kept)

    @property
    def gradient_checkpointing(self) -> bool:
        """Whether the blocks' activations are computed again in the backward pass."""
        return self.model.recompute

    @gradient_checkpointing.setter
    def gradient_checkpointing(self, enabled: bool) -> None:
        self.model.recompute = enabled

    def get_input_embeddings(self) -> nn.Module:
        """Tokens to vectors."""
        return self.model.embedding

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace them."""
        self.model.embedding = value  # type: ignore[assignment]

    def get_output_embeddings(self) -> nn.Module:
        """Vectors to logits; tied to the input embeddings."""
        return self.model.head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Replace them."""
        self.model.head = new_embeddings  # type: ignore[assignment]

    def _init_weights(self, module: nn.Module) -> None:
        """The network has initialised itself; what a folder lacks is not made up."""
        own = module.named_parameters(recurse=False)
        missing = [name for name, weight in own if not getattr(weight, _INITIALISED, False)]
        if missing:
            what = f"{', '.join(missing)} of a {type(module).__name__}"
            raise CheckpointError(
                f"{self.config.name_or_path}: the weights lack {what}. Put back the two files that "
                "were saved together."
            )


def _real(attention_mask: Tensor | None, input_ids: Tensor) -> Tensor | None:
    """Which tokens (B, T) are no padding; None where all are."""
    if attention_mask is None:
        return None
    (rows, steps), shape = input_ids.shape, tuple(attention_mask.shape)
    require(
        len(shape) == 2 and shape[0] == rows and shape[1] >= steps,
        f"attention_mask is {shape} but should be ({rows}, {steps} or more)",
    )
    mask = attention_mask[:, -steps:].bool()
    return None if mask.all() else mask
