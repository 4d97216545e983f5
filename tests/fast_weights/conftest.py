from dataclasses import replace

import pytest
import torch

from sparsemeta.nn import SparseMemory
from tests.fast_weights.states import CONFIG


@pytest.fixture(params=["dense", "growing"])
def layer(request):
    return SparseMemory(8, replace(CONFIG, capacity=None if request.param == "dense" else 40))


@pytest.fixture
def state(layer):
    return layer(torch.randn(3, 7, 8))[1].detach()
