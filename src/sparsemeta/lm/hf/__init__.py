"""Adaptive language models as Hugging Face models: importing this registers the Auto classes.

modelling.py   the model and its configuration
generation.py  what `generate` needs of it, and what it carries from token to token
tokenizer.py   our tokenizers as theirs
pretrained.py  a model folder of ours -> one of theirs; any causal model of theirs as one that reads
augmented.py   the same with an adapter: it remembers
training.py    an adapter in training
"""

from sparsemeta.errors import MissingExtra

try:
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError:
    raise MissingExtra("transformers", "hf") from None

from sparsemeta.lm.hf.generation import FastWeightCache
from sparsemeta.lm.hf.modelling import (
    CausalLMOutputWithMemory,
    SparseMetaConfig,
    SparseMetaForCausalLM,
)
from sparsemeta.lm.hf.pretrained import export

AutoConfig.register(SparseMetaConfig.model_type, SparseMetaConfig)
AutoModelForCausalLM.register(SparseMetaConfig, SparseMetaForCausalLM)

__all__ = [
    "CausalLMOutputWithMemory",
    "FastWeightCache",
    "SparseMetaConfig",
    "SparseMetaForCausalLM",
    "export",
]
