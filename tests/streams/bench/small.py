"""A benchmark that takes a second."""

from torch import nn

from sparsemeta.config import MemoryConfig
from sparsemeta.streams import Rebinding, TrainingConfig
from sparsemeta.streams.bench import Benchmark, Network, forms

MEMORY = MemoryConfig(slots=32, active=4, heads=1, key_width=8, value_width=8)


def small(**changes) -> Benchmark:
    task = Rebinding(cues=8, labels=4, width=8, noise=0.1, hazard=0.1, length=64)
    settings = {
        "name": "rebinding",
        "train": task,
        "validation": (task,),
        "tests": {"M = 4": Rebinding(cues=4, labels=4, width=8, length=64), "M = 8": task},
        "headline": "M = 8",
        "network": Network(width=8, outputs=4, encoder=nn.Identity),
        "forms": forms(MEMORY, MEMORY, linear=8, lstm=8),
        "training": TrainingConfig(steps=2, batch=2, warmup=1),
        "learning_rates": (3e-3,),
        "rates": (0.5,),
        "strengths": (0.1, 1.0),
        "streams": 4,
    }
    return Benchmark(**(settings | changes))
