"""Log p of what came, against torch's cross entropy."""

import pytest
import torch
from torch.nn.functional import cross_entropy

from sparsemeta.ops import log_p


@pytest.mark.parametrize("chunk", [1, 40, 2**21], ids=["a row", "some", "all"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_it_is_the_cross_entropy_with_its_gradient(monkeypatch, chunk, dtype):
    monkeypatch.setattr("sparsemeta.ops.logits.CHUNK", chunk)
    torch.manual_seed(0)
    ours = (5 * torch.randn(2, 7, 13)).to(dtype).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    targets = torch.randint(0, 13, (2, 7))
    targets[0, 3] = -100
    weight = torch.randn(2, 7)
    found = log_p(ours, targets)
    exact = theirs.double() if dtype == torch.float64 else theirs.float()
    expected = -cross_entropy(exact.flatten(0, 1), targets.flatten(), reduction="none").view(2, 7)
    assert found.dtype == expected.dtype
    assert found[0, 3] == 0
    torch.testing.assert_close(found, expected)
    for value in (found, expected):
        (value * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_its_gradient_is_that_of_differences():
    logits = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_p, (logits, torch.tensor([4, 0, 2])))


def test_what_cannot_be_has_no_gradient():
    logits = torch.tensor([[0.0, -torch.inf, 1.0]], requires_grad=True)
    log_p(logits, torch.tensor([2])).sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[-0.268941, 0.0, 0.268941]]))
