"""A small language model in which nothing is zero, and texts for it."""

import torch

from sparsemeta.config import MemoryConfig
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.text.corpus import Document
from tests.tiny import ROWS, TABLES

WINDOW, LAYERS = 5, 2

TEXT = "the fox saw the dog; the dog saw the fox\n" * 4


def build(memory_layers=(0, 1), vocab_size=257, output=()):
    memory = MemoryConfig(slots=16, active=2, heads=2, key_width=8, value_width=8)
    config = ModelConfig(
        layers=LAYERS,
        width=16,
        heads=2,
        window=WINDOW,
        mlp_width=16,
        memory_layers=memory_layers,
        memory=memory,
        output=output,
        rows=ROWS,
        tables=TABLES,
    )
    model = LanguageModel(config, vocab_size)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def documents(*texts):
    return [Document(f"text {i}", text) for i, text in enumerate(texts)]
