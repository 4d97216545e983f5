"""Adaptive language models as Hugging Face models: importing this registers the Auto classes."""

from sparsemeta.errors import MissingExtra

try:
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError:
    raise MissingExtra("transformers", "hf") from None

from sparsemeta.lm.hf.cache import FastWeightCache
from sparsemeta.lm.hf.configuration import SparseMetaConfig
from sparsemeta.lm.hf.modelling import CausalLMOutputWithMemory, SparseMetaForCausalLM

AutoConfig.register(SparseMetaConfig.model_type, SparseMetaConfig)
AutoModelForCausalLM.register(SparseMetaConfig, SparseMetaForCausalLM)

__all__ = [
    "CausalLMOutputWithMemory",
    "FastWeightCache",
    "SparseMetaConfig",
    "SparseMetaForCausalLM",
]
