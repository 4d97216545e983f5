"""Streams: one long text cut into parallel shards, read segment by segment."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sparsemeta.errors import CorpusError


@dataclass(frozen=True)
class Batch:
    """The next segment of every stream."""

    tokens: Tensor
    """(B, T) int64."""
    targets: Tensor
    """(B, T) int64, the token that follows each token."""


class Streams:
    """A text as B streams read side by side, or one process's share of them.

    The text is cut into B shards of equal length; fewer than B tokens at its end are left out.
    Every shard is read around and around: its first token follows its last. Of several processes
    each reads B / world streams, the first process the first ones.

    Args:
        tokens: the text, integers of shape (tokens,); a memory map stays on the disk.
        streams: streams read side by side by all processes together (B).
        segment: tokens of each stream per batch (T).
        rank: which of the processes this is, counted from 0.
        world: how many there are; it divides B.

    Attributes:
        position: tokens already read from each stream, over all epochs. Set it to resume there.
        tokens: tokens in all shards of all processes, separators included.

    Raises:
        CorpusError: there is too little text for one batch.
    """

    def __init__(
        self, tokens: np.ndarray, *, streams: int, segment: int, rank: int = 0, world: int = 1
    ):
        length = len(tokens) // streams
        if length < segment:
            raise CorpusError(
                f"the text has {len(tokens)} tokens, but {streams} streams of {segment} tokens "
                f"need {streams * segment}. Add text, or lower training.streams or "
                "training.segment."
            )
        shards = tokens[: streams * length].reshape(streams, length)
        share = streams // world
        self._shards = shards[rank * share : (rank + 1) * share]
        self._segment = segment
        self.position = 0
        self.tokens = streams * length

    def __len__(self) -> int:
        return self.tokens

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every token has been read at least once."""
        return math.ceil(self._shards.shape[1] / self._segment)

    def next_batch(self) -> Batch:
        """Read the next T tokens of every stream and move on."""
        columns = self.position + np.arange(self._segment + 1)
        window = self._shards.take(columns, axis=1, mode="wrap").astype(np.int64)
        self.position += self._segment
        tokens = torch.from_numpy(window[:, :-1].copy())
        targets = torch.from_numpy(window[:, 1:].copy())
        return Batch(tokens, targets)
