"""How text is written: settings, no torch."""

from dataclasses import dataclass
from typing import Annotated

from sparsemeta.config import Above, AtLeast, Count, Settings, Within


@dataclass(frozen=True)
class Sampling(Settings):
    """How the next token is chosen, and how many are."""

    tokens: Annotated[int, AtLeast(0)] = 200
    """How many tokens are written at most; a text that ends sooner is shorter."""
    temperature: Annotated[float, Above(0)] = 1.0
    """The temperature of the distribution: above 1 is bolder, below 1 safer."""
    top_k: Count | None = None
    """Choose each token among this many of the likeliest."""
    top_p: Annotated[float, Within(0, 1, open_low=True)] | None = None
    """Choose each token among the likeliest that together have this probability."""
    greedy: bool = False
    """Always take the likeliest token, and draw nothing by chance."""
    seed: int | None = None
    """The seed of the draws, which decides the text. If left out: a new one each time."""
