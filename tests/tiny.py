"""A model of bytes, so small that it is made on the spot, in which nothing is zero."""

import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel

VOCABULARY = 257


def tiny_model(*, seed=0, memory_layers=(1,), slots=32, capacity=None, vocabulary=VOCABULARY):
    torch.manual_seed(seed)
    memory = MemoryConfig(
        slots=slots, active=4, heads=2, key_width=8, value_width=8, capacity=capacity
    )
    config = ModelConfig(
        layers=2,
        width=32,
        heads=2,
        window=16,
        mlp_width=32,
        memory_layers=memory_layers,
        memory=memory,
    )
    model = LanguageModel(config, vocabulary)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.2)
    return model
