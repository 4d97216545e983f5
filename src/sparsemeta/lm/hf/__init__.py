"""Adaptive language models as Hugging Face models: importing this registers the Auto classes.

configuration.py, modelling.py  the model; generation.py and cache.py what `generate` needs of it
tokenizer.py                    our tokenizers as theirs
export.py                       a model folder of ours -> one of theirs
pretrained.py                   any causal model of theirs as one that `lm.reading` reads with
"""

from sparsemeta.errors import MissingExtra

try:
    from transformers import AutoConfig, AutoModelForCausalLM
except ImportError:
    raise MissingExtra("transformers", "hf") from None

from sparsemeta.lm.hf.cache import FastWeightCache
from sparsemeta.lm.hf.configuration import SparseMetaConfig
from sparsemeta.lm.hf.export import export
from sparsemeta.lm.hf.modelling import CausalLMOutputWithMemory, SparseMetaForCausalLM

AutoConfig.register(SparseMetaConfig.model_type, SparseMetaConfig)
AutoModelForCausalLM.register(SparseMetaConfig, SparseMetaForCausalLM)

__all__ = [
    "CausalLMOutputWithMemory",
    "FastWeightCache",
    "SparseMetaConfig",
    "SparseMetaForCausalLM",
    "export",
]
