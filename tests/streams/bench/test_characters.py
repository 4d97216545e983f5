"""Omniglot: what is learned from is never asked about."""

import torch

from sparsemeta.streams.bench.suite import TURNS, Centred, GaussianFeatures, omniglot


def test_no_class_is_in_two_parts():
    characters = 500
    names = torch.arange(TURNS * characters).view(-1, 1, 1).expand(-1, 20, 2)
    background = torch.stack([names // 256, names % 256], -1)[..., 0, :].to(torch.uint8)
    bench = omniglot(background, torch.full((620, 20, 2), 255, dtype=torch.uint8))

    def classes(task):
        pairs = task.images[:, 0].long()
        return set((256 * pairs[:, 0] + pairs[:, 1]).tolist())

    learned = classes(bench.train)
    kept = {name % characters for name in learned}  # in whichever direction
    assert len(learned) == TURNS * 50
    assert kept == set(range(350, 400))
    for task in bench.validation:
        asked = classes(task)
        assert len(asked) == TURNS * 100
        assert {name % characters for name in asked} == set(range(400, 500))
    assert list(bench.tests) == [
        *("50 classes", "100 classes", "200 classes", "600 classes", "200, relabelled")
    ]
    assert all(classes(task) == {256 * 255 + 255} for task in bench.tests.values())
    assert bench.network.outputs == 600
    rows = bench.network.build(bench.forms["rows"], 0.001)
    assert (rows.outputs, rows.rows.width, rows.memory) == (600, 2, None)


def test_products_of_gaussian_features_are_the_kernel():
    torch.manual_seed(0)
    x, bandwidth = 3 + torch.randn(20, 6), torch.tensor(2.0)
    z = GaussianFeatures(x.mean(0), bandwidth, 50_000)(x)
    expected = (-torch.cdist(x, x).square() / 8).exp()
    torch.testing.assert_close(z @ z.mT / 50_000, expected, atol=0.03, rtol=0)


def test_centred_inputs_have_length_one_on_average():
    x = 3 + 2 * torch.randn(2000, 6)
    z = Centred(x.mean(0), 6**0.5 * x.std())(x)
    torch.testing.assert_close(z.mean(0), torch.zeros(6), atol=1e-5, rtol=0)
    torch.testing.assert_close(z.square().sum(-1).mean(), torch.tensor(1.0), atol=0.05, rtol=0)
