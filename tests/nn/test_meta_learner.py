"""The meta-learner: equation (2)."""

import torch

from sparsemeta.nn import Addressing, MemoryConfig, MetaLearner

WIDTH = 16
SETTINGS = {"slots": 49, "active": 5, "heads": 3, "key_width": 8, "value_width": 4}


def make(**changes):
    return MetaLearner(WIDTH, MemoryConfig(**SETTINGS | changes))


def test_generated_within_bounds():
    learner = make(retention=True)
    previous, x, feedback = 5 * torch.randn(3, 2, 7, WIDTH)
    torch.nn.init.normal_(learner.gates.weight)
    made = learner(previous, x, feedback)
    assert made.value.shape == (2, 7, 3, 4)
    assert ((made.rate >= 0) & (made.rate <= 1)).all()
    assert (made.log_retention <= 0).all()
    assert make()(previous, x, feedback).log_retention is None


def test_the_memory_is_never_coarser_than_float32():
    addressing = Addressing(WIDTH, MemoryConfig(**SETTINGS)).bfloat16()
    learner, x = make().bfloat16(), torch.randn(1, 3, WIDTH, dtype=torch.bfloat16)
    assert addressing(x)[1].dtype == learner(x, x, x).value.dtype == torch.float32
