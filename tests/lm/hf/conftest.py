"""A tiny model in float64 whose every weight counts."""

import os
from dataclasses import replace

os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import torch

pytest.importorskip("transformers")

from sparsemeta.config import MemoryConfig
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.hf import SparseMetaConfig, SparseMetaForCausalLM
from tests.tiny import OUTPUT, ROWS, TABLES, draw_zeros

VOCABULARY = 50
STD = 2.0  # large enough that what is generated does not repeat one token
MEMORY = MemoryConfig(slots=32, active=4, heads=2, key_width=8, value_width=8)
CONFIG = ModelConfig(
    layers=3,
    width=32,
    heads=2,
    window=8,
    mlp_width=64,
    bias=True,
    memory_layers=(0, 2),
    memory=MEMORY,
    rows=ROWS,
    tables=replace(TABLES, rate=1.0),  # or it soon believes them alone, which repeat themselves
)


def make_model(config=CONFIG, **others) -> SparseMetaForCausalLM:
    torch.manual_seed(3)
    model = SparseMetaForCausalLM(SparseMetaConfig.from_model(config, VOCABULARY, **others)).eval()
    return draw_zeros(model, STD).double()


@pytest.fixture(params=[(), OUTPUT], ids=["hidden", "every"])
def model(request):
    return make_model(replace(CONFIG, output=request.param))


@pytest.fixture
def tokens():
    return torch.randint(0, VOCABULARY, (3, 24), generator=torch.Generator().manual_seed(0))
