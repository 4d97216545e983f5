"""Small tasks of every kind."""

import torch

from sparsemeta.streams import ClassOrdered, Rebinding, Sine


def numbered(classes: int, each: int) -> torch.Tensor:
    """Images of one pixel, which is the image's own number."""
    return torch.arange(classes * each, dtype=torch.uint8).view(classes, each, 1)


SMALL = {
    "rebinding": Rebinding(cues=6, labels=3, width=4, hazard=0.2, length=40),
    "ordered": ClassOrdered(numbered(8, 7), classes=6, shots=3, queries=2),
    "rebound": ClassOrdered(numbered(8, 7), classes=6, shots=2, queries=2, rebound=0.5),
    "sine": Sine(length=30, hazard=0.1),
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
