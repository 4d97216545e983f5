"""What there is to bench, and the models that are trained for it: all help comes from here.

A benchmark is a row of `BENCHMARKS`, and a function that makes it. No torch is loaded by this file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Entry:
    """Where a benchmark is made, and what is said of it."""

    about: str
    home: str
    """`module:function`: of nothing, giving a `Benchmark`; or, where data is needed, like
    `suite.characters`, giving the benchmark of each seed."""
    data: str = ""  # the files that it needs, if any

    def load(self) -> Callable[..., Any]:
        """Import the function."""
        module, name = self.home.split(":")
        return getattr(import_module(module), name)


_SUITE = "sparsemeta.streams.bench.suite"
BENCHMARKS = {
    "rebinding": Entry(
        "cues whose labels change, up to 512 of them live at once", f"{_SUITE}:rebinding"
    ),
    "omniglot": Entry(
        "handwritten characters, class after class in one pass without replay",
        f"{_SUITE}:characters",
        data="the folder of images_background and images_evaluation, each a .zip or .npz file, "
        "from https://github.com/brendenlake/omniglot",
    ),
    "sine": Entry("a wave that jumps", f"{_SUITE}:sine"),
    "digits": Entry("ten digits, class after class in one pass without replay", f"{_SUITE}:digits"),
}

MODELS = {
    "sparse": "the sparse memory",
    "sparse-equal": "one of the dense ones' width",
    "positive": "one whose addresses are not signed",
    "linear": "a dense memory whose key is linear",
    "sign": "one of signs",
    "centred-relu": "one of what is positive, less its mean",
    "soft-threshold": "one of what exceeds a threshold",
    "additive": "a sparse memory that only adds",
    "lstm": "an LSTM without a memory",
    "rows": "prototypes of labels that can forget",
}
"""Learned models, of which each benchmark has those that make sense there."""
