import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from sparsemeta.lm.evaluation.learners import EPSILON, MeanSquares, RMSUpdate

HIDDEN = torch.empty(0)  # the rule asks for none


class Table(nn.Module):
    """A bigram model, with a weight that has no part in it and one that is not trained."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(5, 5, dtype=torch.float64))
        self.unused = nn.Parameter(torch.randn(2, dtype=torch.float64))
        self.frozen = nn.Parameter(torch.randn(3), requires_grad=False)


def segments(count, length=4):
    return [(torch.randint(5, (length,)), torch.randint(5, (length,))) for _ in range(count)]


def log_p(table, tokens, targets):
    return -cross_entropy(table[tokens].float(), targets, reduction="none")


def loss_gradient(table, tokens, targets):
    weight = table.detach().clone().requires_grad_()
    cross_entropy(weight[tokens].float(), targets).backward()
    return weight.grad


def test_mean_squares_are_the_root_of_the_mean():
    model, text = Table(), segments(6)
    meter = MeanSquares(model, segment=4)
    for tokens, targets in text:
        meter.learn(log_p(model.table, tokens, targets), HIDDEN, targets)
    table, unused = meter.root()
    squares = torch.stack([loss_gradient(model.table, *pair) ** 2 for pair in text])
    torch.testing.assert_close(table, squares.mean(0).sqrt())
    assert unused.tolist() == [0, 0]
    assert meter.nbytes == 0


def test_update_is_the_rule():
    model = Table()
    start = model.table.detach().clone()
    scale = [torch.rand(5, 5, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)]
    update = RMSUpdate(model, scale, segment=4, rate=0.02, decay=0.6)
    mean, usual = scale[0].sum() / 27, (scale[0] ** 2).sum() / scale[0].sum()
    weight = start.clone()
    for tokens, targets in segments(5):
        gradient = loss_gradient(weight, tokens, targets)
        pull = 0.6 * (scale[0] / mean).clamp(max=1 / 0.6) * (start - weight)
        weight = weight + pull - 0.02 * gradient / (scale[0] + EPSILON * usual)
        update.learn(log_p(model.table, tokens, targets), HIDDEN, targets)
        torch.testing.assert_close(model.table.detach(), weight)
    assert update.nbytes == 25 * 8  # the unused weight never changed


def test_a_short_segment_counts_for_less():
    model = Table()
    tokens, targets = segments(1, length=2)[0]
    meter = MeanSquares(model, segment=4)
    meter.learn(log_p(model.table, tokens, targets), HIDDEN, targets)
    half = loss_gradient(model.table, tokens, targets).abs() / 2
    torch.testing.assert_close(meter.root()[0], half)


@pytest.mark.parametrize("fails", [False, True])
def test_weights_are_put_back_bit_for_bit(fails):
    model = Table()
    before = [weight.detach().clone() for weight in model.parameters()]
    scale = [torch.rand_like(model.table), torch.zeros(2)]
    update = RMSUpdate(model, scale, segment=64, rate=0.1, decay=5e-3)
    try:
        with update.undone():
            for tokens, targets in segments(3):
                update.learn(log_p(model.table, tokens, targets), HIDDEN, targets)
            assert not torch.equal(model.table, before[0])
            if fails:
                raise ZeroDivisionError
    except ZeroDivisionError:
        assert fails
    for weight, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(weight, old)


def test_a_model_without_gradients_stays_finite():
    model = Table()
    update = RMSUpdate(model, [torch.zeros(5, 5), torch.zeros(2)], 64, 5e-4, 5e-3)
    nothing = log_p(model.table * 0, torch.tensor([1]), torch.tensor([2]))
    update.learn(nothing, HIDDEN, torch.tensor([2]))
    assert model.table.isfinite().all()
