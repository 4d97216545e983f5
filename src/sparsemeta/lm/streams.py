"""Streams: one long text cut into parallel shards, read segment by segment."""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    reset: Tensor
    """(B, T) bool, True where the token is a separator: a new document starts here."""


class Streams:
    """Documents in order, each opened by a separator, as B streams read side by side.

    The concatenation is cut into B shards of equal length; fewer than B tokens at its end are left
    out. Every shard is read around and around: its first token follows its last.

    Args:
        documents: the tokens of each document, integers of shape (tokens,).
        streams: streams read side by side (B).
        segment: tokens of each stream per batch (T).
        separator: the token that opens a document.

    Attributes:
        position: tokens already read from each stream, over all epochs. Set it to resume there.
        tokens: tokens in all shards together, separators included.

    Raises:
        CorpusError: there is too little text for one batch.
    """

    def __init__(
        self, documents: Sequence[np.ndarray], *, streams: int, segment: int, separator: int
    ):
        total = sum(len(document) + 1 for document in documents)
        length = total // streams
        if length < segment:
            raise CorpusError(
                f"the text has {total} tokens, but {streams} streams of {segment} tokens need "
                f"{streams * segment}. Add text, or lower training.streams or training.segment."
            )
        opening = np.array([separator], dtype=np.int32)
        parts = [part for document in documents for part in (opening, document)]
        text = np.concatenate(parts, dtype=np.int32)
        self._shards = text[: streams * length].reshape(streams, length)
        self._segment = segment
        self._separator = separator
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
        return Batch(tokens, targets, reset=tokens == self._separator)
