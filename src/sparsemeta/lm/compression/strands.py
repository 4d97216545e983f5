"""The model at several places of a text at once, reading one token of each at a time.

A token can be decoded only when the one before it has been, so a decoder reads token by token, and
for its speed must read at several places of the text. At each place it has an attention window, and
contexts, of its own; what followed a context is learned into tables that all share, so that little
is lost. (Rows, and memories of blocks, are of each place alone.)

Encoder and decoder make the same calls in the same order: then all numbers are the same.
"""

import hashlib
from collections.abc import Iterator

import numpy as np
import torch

from sparsemeta.fast_weights import FastWeights, TableWeights
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.state import LMState


class Strands:
    """A model that goes on with S strands of a text, each opened by a separator.

    Args:
        model: on a CPU.
        separator: the token.
        count: S.
        memory: of one stream, from which all begin; None is empty. It stays as it is.
    """

    def __init__(
        self, model: LanguageModel, separator: int, count: int, memory: FastWeights | None = None
    ):
        self._model, self.count = model, count
        self._came = np.full(count, separator, np.int64)
        if memory is None:
            empty = {name: layer.initial_state(1) for name, layer in model.memories()}
            memory = FastWeights.join(empty)
        self._state, self._owned = LMState(_for_strands(memory, count)), False

    def predict(self) -> np.ndarray:
        """The probabilities (S, V) float32 of the next token of each strand."""
        with torch.inference_mode():
            said, _, self._state = self._model.predict(
                torch.from_numpy(self._came)[:, None], self._state, steps=1, donate=self._owned
            )
            self._owned = True
            return said[:, 0].softmax(-1, dtype=torch.float32).numpy()

    def read(self, came: np.ndarray) -> None:
        """Say which tokens (S,) came."""
        self._came = came.astype(np.int64)


def places(tokens: int, strands: int) -> Iterator[np.ndarray]:
    """At each step, where in the text the tokens stand that are next: (S,); fewer at the end.

    A strand is a piece of the text; the first are longer by one where they cannot be equal.
    """
    length, longer = divmod(tokens, strands)
    start = np.arange(strands) * length + np.arange(strands).clip(max=longer)
    for step in range(length):
        yield start + step
    if longer:
        yield start[:longer] + length


def arithmetic(strands: Strands) -> bytes:
    """A digest of what the model says of a few tokens: of how this machine rounds; uses it up."""
    hashed = hashlib.sha256()
    for step in range(4):
        said = strands.predict()
        hashed.update(said.tobytes())
        strands.read((np.arange(strands.count) + step % 2) % said.shape[1])
    return hashed.digest()


def _for_strands(memory: FastWeights, count: int) -> FastWeights:
    """A memory of one stream as that of all strands: they share its tables."""
    own = {name: x for name, x in memory.layers.items() if not isinstance(x, TableWeights)}
    made = FastWeights(own).select([0] * count).layers
    shared = {n: x.shared(count) for n, x in memory.layers.items() if isinstance(x, TableWeights)}
    return FastWeights({**made, **shared})
