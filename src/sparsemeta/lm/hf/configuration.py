"""The configuration of a model folder as transformers wants it: `ModelConfig`, flat."""

import dataclasses
from dataclasses import field
from typing import Any, ClassVar, Self

from transformers import PreTrainedConfig

from sparsemeta.config import MemoryConfig, from_dict, to_dict
from sparsemeta.lm.config import ModelConfig


class SparseMetaConfig(PreTrainedConfig):
    """An adaptive language model: the fields of `ModelConfig`, its memory's as a dictionary.

    `use_cache` is whether a forward pass outside training returns a `FastWeightCache`.

    Raises:
        ConfigError: settings that make no model.
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
    memory_layers: list[int] | tuple[int, ...] = ModelConfig.memory_layers
    memory: dict[str, Any] = field(default_factory=lambda: to_dict(MemoryConfig()))
    bos_token_id: int | None = None
    eos_token_id: int | None = None
    pad_token_id: int | None = None
    tie_word_embeddings: bool = True
    use_cache: bool = True

    def __post_init__(self, **kwargs: Any) -> None:
        self.memory_layers = list(self.memory_layers)
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
