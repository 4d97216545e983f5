"""A text as streams read side by side, and where in them a memory begins with nothing."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsemeta.errors import CorpusError


class Batch(NamedTuple):
    """The next segment of every stream.

    Attributes:
        tokens: (B, T) int64.
        targets: (B, T) int64, the token that follows each.
        reset: (B, T) bool, True where an episode begins; None where there are no episodes.
    """

    tokens: Tensor
    targets: Tensor
    reset: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The same batch on a device."""
        reset = None if self.reset is None else self.reset.to(device)
        return Batch(self.tokens.to(device), self.targets.to(device), reset)


class Episode(NamedTuple):
    """Some segments of a stream that are read with a memory which began with nothing.

    Attributes:
        begin: its first segment.
        end: the first that is no longer of it.
        names: (V,), what each token is called in it; None if as ever.
    """

    begin: int
    end: int
    names: np.ndarray | None


class Episodes:
    """Chance cuts streams into episodes, and renames the tokens of some.

    In a renamed episode every token stands for another one, drawn at random, throughout. What the
    slow weights know is wrong there, and only what a memory learns by reading can help.

    All follows from the seed and the place, so that there is nothing to save: a training that is
    resumed, or shared by several processes, has the same episodes.

    Args:
        emptied: the chance that an episode ends with a segment; above 0.
        renamed: the chance that an episode is renamed.
        classes: how many tokens there are (V).
        seed: of all that is drawn.
    """

    def __init__(self, emptied: float, renamed: float, classes: int, seed: int):
        self._emptied, self._renamed, self._classes, self._seed = emptied, renamed, classes, seed
        self._drawn: dict[int, tuple[Episode, Iterator[Episode]]] = {}

    def at(self, stream: int, segment: int) -> Episode:
        """The one that a segment of a stream is of, both counted from 0."""
        episode, following = self._drawn.get(stream, (None, iter(())))
        if episode is None or segment < episode.begin:
            following = self._draw(stream)
            episode = next(following)
        while episode.end <= segment:
            episode = next(following)
        self._drawn[stream] = episode, following
        return episode

    def _draw(self, stream: int) -> Iterator[Episode]:
        chance, end = np.random.default_rng([self._seed, stream]), 0
        while True:
            begin, end = end, end + int(chance.geometric(self._emptied))
            renamed = chance.random() < self._renamed
            yield Episode(begin, end, chance.permutation(self._classes) if renamed else None)


class Streams:
    """A text as B streams read side by side, or one process's share of them.

    The text is cut into B shards of equal length; fewer than B tokens at its end are left out.
    Every shard is read around and around: its first token follows its last. Of several processes
    each reads B / world streams, the first process the first ones.

    Args:
        tokens: the text, integers of shape (tokens,); a memory map stays on the disk.
        streams: streams read side by side by all processes together (B).
        segment: tokens of each stream per batch (T).
        rank: which of the `world` processes this is, counted from 0; their number divides B.
        episodes: where memories begin with nothing.

    Attributes:
        position: tokens already read from each stream, over all epochs. Set it to resume there.
        tokens: tokens in all shards of all processes, separators included.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        *,
        streams: int,
        segment: int,
        rank: int = 0,
        world: int = 1,
        episodes: Episodes | None = None,
    ):
        length = len(tokens) // streams
        if length < segment:
            raise CorpusError(
                f"the text has {len(tokens)} tokens, but {streams} streams of {segment} tokens "
                f"need {streams * segment}. Add text, or lower training.streams or "
                "training.segment."
            )
        shards, share = tokens[: streams * length].reshape(streams, length), streams // world
        self._mine = range(rank * share, (rank + 1) * share)
        self._shards, self._segment = shards[self._mine.start : self._mine.stop], segment
        self._episodes, self.position, self.tokens = episodes, 0, streams * length

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
        reset = self._place(window) if self._episodes else None
        self.position += self._segment
        tokens, targets = (torch.from_numpy(x.copy()) for x in (window[:, :-1], window[:, 1:]))
        return Batch(tokens, targets, reset)

    def _place(self, window: np.ndarray) -> Tensor:
        """Rename the tokens of a segment, in place; (B, T) bool, where an episode begins."""
        assert self._episodes is not None
        segment, reset = self.position // self._segment, torch.zeros(window[:, 1:].shape).bool()
        for i, stream in enumerate(self._mine):
            begin, _, names = self._episodes.at(stream, segment)
            reset[i, 0] = begin == segment
            if names is not None:
                window[i] = names[window[i]]
        return reset
