"""The loss over words that were drawn, against that over all."""

import pytest
import torch
from torch import nn

from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.negatives import Negatives, chances
from tests.lm.runs import MODEL


def exact(hidden, head, targets):
    return head(hidden).log_softmax(-1).gather(-1, targets[..., None])[..., 0]


def pieces(*, bias):
    torch.manual_seed(0)
    return torch.randn(2, 7, 4), nn.Linear(4, 50, bias=bias), torch.randint(0, 50, (2, 7))


@pytest.mark.parametrize("bias", [False, True])
def test_all_words_drawn_give_log_p_itself_with_its_gradients(bias):
    hidden, head, targets = pieces(bias=bias)
    inputs = [hidden.requires_grad_(), *head.parameters()]
    found = []
    for log_p in (Negatives.draw(torch.ones(50)).log_p, exact):
        value = log_p(hidden, head, targets)
        found.append((value, *torch.autograd.grad(value.sum(), inputs)))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)


@torch.no_grad()
def test_the_sum_over_other_words_has_the_right_expectation():
    hidden, head, targets = pieces(bias=True)
    right = (hidden * head.weight[targets]).sum(-1) + head.bias[targets]
    some = torch.linspace(0.2, 1.0, 50)
    many = 4000
    drawn = (Negatives.draw(some).log_p(hidden, head, targets) for _ in range(many))
    others = torch.stack([(right - log_p).exp() - right.exp() for log_p in drawn])
    expected = (right - exact(hidden, head, targets)).exp() - right.exp()
    error = others.std(0) / many**0.5
    assert ((others.mean(0) - expected).abs() < 5 * error).all()


@pytest.mark.parametrize("number", [1, 10, 50, 200])
def test_chances_add_up_and_rise_with_the_counts(number):
    found = chances(torch.arange(100), number)
    assert found.sum().item() == pytest.approx(min(number, 100), rel=1e-4)
    assert (found.diff()[1:] >= 0).all()
    assert found.min() > 0
    assert found.max() <= 1


def test_a_model_takes_them_and_its_state_is_the_same():
    torch.manual_seed(0)
    model, tokens = LanguageModel(MODEL, 50), torch.randint(0, 50, (2, 12))
    options = {"targets": tokens.roll(-1, 1)}
    whole, state = model(tokens, **options)
    found, other = model(tokens, **options, negatives=Negatives.draw(torch.ones(50)))
    torch.testing.assert_close(found, whole)
    assert state.tensors().keys() == other.tensors().keys()
    assert all(torch.equal(x, other.tensors()[name]) for name, x in state.tensors().items())
