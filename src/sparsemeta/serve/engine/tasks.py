"""What is asked of the engine, and what it answers: values that pass between two threads."""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

from sparsemeta.lm import LMState, Sampling

Reason = Literal["stop", "length"]
"""Why a text ended: by itself or by a stop string; or because it was as long as it might be."""


class Snapshot(NamedTuple):
    """Where a stream stands: all that going on with it needs.

    Attributes:
        state: of one stream; immutable, as all that it came from.
        log_p: (V,) float32, the log-probability of each token to come next; None before anything
            was read with an empty attention window.
    """

    state: LMState
    log_p: Tensor | None = None


class Choice(NamedTuple):
    """A token, how likely it was, and those that were likelier than others in its place."""

    token: int
    log_p: float | None  # natural; None where nothing was predicted
    top: tuple[tuple[int, float], ...] = ()  # tokens and their log p, the likeliest first


@dataclass(eq=False)
class Task:
    """A stream to go on with: tokens to read first, then tokens to write.

    Attributes:
        begin: where it goes on; it stays as it is, whatever becomes of the task. None is an empty
            memory.
        tokens: (n,) integers, which are read; at least one, unless `begin` has a prediction.
        sampling: how many tokens are written then, and how each is chosen.
        stop: strings that end the text, and are no part of it.
        top: how many likely tokens are told for each place.
        cancelled: set by who asked, from any thread: nobody waits for an answer any more.
    """

    begin: Snapshot | None
    tokens: np.ndarray
    sampling: Sampling = field(default_factory=lambda: Sampling(tokens=0))
    stop: tuple[str, ...] = ()
    top: int = 0
    cancelled: bool = False


class Read(NamedTuple):
    """Some tokens were read, each scored before."""

    tokens: tuple[Choice, ...]


class Wrote(NamedTuple):
    """A token was chosen; whole characters of the text that is certain by now."""

    token: Choice
    text: str


class Finished(NamedTuple):
    """The task is done.

    Attributes:
        after: where the stream stands, after all that was read and written.
        wrote: the tokens that were written and read in turn, as `after` holds them.
        text: what of the text had not been told yet.
        reason: why it ended.
    """

    after: Snapshot
    wrote: tuple[int, ...]
    text: str
    reason: Reason


Event = Read | Wrote | Finished
