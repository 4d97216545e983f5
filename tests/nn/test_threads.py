"""Compiled loops are spread over torch's threads: how many there are changes nothing."""

import pytest
import torch

from sparsemeta import MemoryConfig, SparseMemory


@pytest.mark.parametrize("addressing", ["topk", "product"])
def test_any_number_of_threads_gives_the_same(addressing):
    layer = SparseMemory(32, MemoryConfig(slots=1024, active=4, addressing=addressing))
    torch.nn.init.normal_(layer.output.weight)
    x = torch.randn(4, 64, 32)
    found = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        layer.zero_grad()
        y, state = layer(x)
        y.square().sum().backward()
        grads = [p.grad for p in layer.parameters() if p.grad is not None]
        found.append([y.detach(), *state.detach().tensors().values(), *grads])
    for one, several in zip(*found, strict=True):
        torch.testing.assert_close(one, several, rtol=1e-5, atol=1e-6)
