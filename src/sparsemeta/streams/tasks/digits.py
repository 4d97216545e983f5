"""Handwritten digits, bundled with scikit-learn: a task that needs no download."""

import torch
from torch import Tensor

from sparsemeta.errors import require_installed


def read_digits() -> Tensor:
    """The digits of scikit-learn for `ClassOrdered`, of each as many as there are of the rarest.

    Returns:
        (10, 174, 8, 8) uint8, 255 is full ink.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    require_installed("sklearn", "tasks")
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    ink = torch.as_tensor(pixels * (255 / 16)).round().to(torch.uint8).view(-1, 8, 8)
    labels = torch.as_tensor(digits)
    each = int(labels.bincount().min())
    return torch.stack([ink[labels == digit][:each] for digit in range(10)])
