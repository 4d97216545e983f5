"""Classifiers that need no training, against what they compute all at once."""

import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch.nn.functional import cross_entropy

from sparsemeta.streams.learners import SoftmaxSGD, StreamingLDA


def clusters(count=90):
    generator = torch.Generator().manual_seed(0)
    centre = 2 * torch.randn(3, 5, generator=generator)
    label = torch.arange(count) % 3
    mixing = torch.randn(5, 5, generator=generator)
    return centre[label] + torch.randn(count, 5, generator=generator) @ mixing, label


both = pytest.mark.parametrize("classifier", [SoftmaxSGD(3, 0.1), StreamingLDA(3)])


@both
def test_any_split_is_one_pass_and_what_is_not_taught_is_not_used(classifier):
    x, label = clusters()
    x, label, taught = x.view(2, 45, 5), label.view(2, 45), torch.rand(2, 45) < 0.6
    whole, _ = classifier(x, label, taught)
    first, state = classifier(x[:, :20], label[:, :20], taught[:, :20])
    kept = [tensor.clone() for tensor in state]
    rest, _ = classifier(x[:, 20:], torch.where(taught, label, 0)[:, 20:], taught[:, 20:], state)
    torch.testing.assert_close(torch.cat([first, rest], 1), whole)
    assert all(torch.equal(a, b) for a, b in zip(kept, state, strict=True))


def test_a_step_of_sgd_is_that_of_autograd():
    (x, label), weight = clusters(1), torch.randn(1, 3, 6, requires_grad=True)
    taught = torch.ones(1, 1, dtype=torch.bool)
    logits, after = SoftmaxSGD(3, 0.1)(x[None], label[None], taught, weight.detach())
    inputs = torch.cat([x, torch.ones(1, 1)], 1)
    torch.testing.assert_close(logits[0], inputs @ weight[0].T)
    cross_entropy(inputs @ weight[0].T, label).backward()
    torch.testing.assert_close(after, (weight - 0.1 * weight.grad).detach())


def test_running_means_and_covariance_are_those_of_all_at_once():
    x, label = clusters()
    x = x.double()
    _, state = StreamingLDA(3)(x[None], label[None], torch.ones(1, 90, dtype=torch.bool))
    means = torch.stack([x[label == k].mean(0) for k in range(3)])
    torch.testing.assert_close(state.mean[0], means)
    assert state.seen.tolist() == [[30, 30, 30]]
    off = x - means[label]
    within = off.T @ off / 90
    assert (state.covariance[0] - within).norm() < 0.3 * within.norm()  # a running approximation


def test_lda_agrees_with_that_of_scikit_learn():
    x, label = clusters(600)
    taught = torch.arange(600) < 500
    logits, _ = StreamingLDA(3)(x[None], label[None], taught[None])
    reference = LinearDiscriminantAnalysis().fit(x[:500].numpy(), label[:500].numpy())
    expected = torch.from_numpy(reference.predict(x[500:].numpy()))
    found = logits[0, 500:].argmax(-1)
    assert (found == expected).float().mean() > 0.95
    assert (found == label[500:]).float().mean() > 0.8


def test_a_class_that_was_never_shown_is_not_predicted():
    x, label = clusters(4)
    logits, _ = StreamingLDA(5)(x[None], label[None], torch.ones(1, 4, dtype=torch.bool))
    assert logits[0, 3].isfinite().tolist() == [True, True, True, False, False]
