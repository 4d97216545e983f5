import pytest
import torch

from sparsemeta.errors import MissingExtra
from sparsemeta.streams import ClassOrdered, read_digits, score
from tests.streams.tasks import seeded


@pytest.fixture(scope="module")
def digits():
    pytest.importorskip("sklearn")
    return read_digits()


def test_images(digits):
    assert (digits.shape, digits.dtype) == ((10, 174, 8, 8), torch.uint8)
    assert digits.max() == 255
    zero, one = digits[0].float().mean(0), digits[1].float().mean(0)
    assert zero[3:5, 3:5].mean() < 30  # a nought is hollow, a one is not
    assert one[3:5, 3:5].mean() > 150


@pytest.mark.parametrize(("shots", "published"), [(1, 62.6), (5, 84.2), (10, 87.6)])
def test_prototypes_reach_what_was_published(digits, shots, published):
    task = ClassOrdered(digits, classes=10, shots=shots, queries=20)
    stream = task.sample(30, seeded())
    reached = 100 * score(stream, task.oracle(stream))
    error = (reached.std() / 30**0.5).item()
    assert error < 1.5
    assert reached.mean().item() == pytest.approx(published, abs=3 * error)


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setattr("sparsemeta.errors.installed", lambda package: False)
    with pytest.raises(MissingExtra, match=r"sparsemeta\[tasks\]"):
        read_digits()
