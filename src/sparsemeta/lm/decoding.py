"""Many streams that go on together, a token each at a time: what it costs is what is new.

Between two tokens of a stream nearly all of its attention window stays as it is. Here it does so in
place: a ring, of which every step overwrites the oldest key, rotated once by where it stands.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor
from torch.nn.functional import rms_norm

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.attention import AttentionMask, Ring, angles_of, turned_by
from sparsemeta.lm.modelling import LanguageModel
from sparsemeta.lm.state import LMState


class Decoder:
    """Streams side by side, in which every step overwrites what they hold.

    Coming and going copies the memories of all, but the windows of those alone who do.

    Args:
        model: that reads; no gradient is wanted of it.
    """

    def __init__(self, model: LanguageModel):
        self._model, self._at = model, 0  # where the next token of all stands
        self._memory, self._pending = FastWeights({}), None
        self._real = torch.zeros(0, dtype=torch.int64)  # how many keys of each are real
        shape = (0, model.config.heads, model.config.window, self._width)
        like = model.embedding.weight
        self._rings = [Ring(*(like.new_zeros(shape) for _ in Ring._fields)) for _ in model.blocks]

    def __len__(self) -> int:
        """How many streams there are (B)."""
        return len(self._real)

    @property
    def _width(self) -> int:
        return self._model.config.width // self._model.config.heads

    def step(self, tokens: Tensor) -> Tensor:
        """Read a token each.

        Args:
            tokens: (B,) int64.

        Returns:
            Logits (B, V) of what comes next, of which a softmax is the prediction.
        """
        model, tokens = self._model, tokens[:, None]
        observed = rms_norm(model.embedding(tokens), (model.config.width,))
        mask, x, memory = self._mask(), observed, {}
        for i, (block, ring) in enumerate(zip(model.blocks, self._rings, strict=True)):
            held = self._memory.child(str(i)) if block.memory else None
            ring = Ring(*(part[: len(self)] for part in ring))
            x, held, _ = block(x, observed, held, ring, mask, None, None, True)
            if held is not None:
                memory[str(i)] = held
        hidden, read = rms_norm(x, (model.config.width,)), LMState(FastWeights.join(memory))
        before = LMState(self._memory, pending=self._pending)
        decoded = (tokens, hidden, observed, read)
        logits, after = model.conclude(decoded, before, None, 1, {"donate": True})
        self._memory, self._pending = after.memory, after.pending
        self._at += 1
        return logits[:, -1]

    def _mask(self) -> AttentionMask:
        """What the next token attends to: the real keys of the ring, itself among them."""
        window, at = self._model.config.window, self._at
        self._real = (self._real + 1).clamp(max=window)
        visible = None
        if bool((self._real < window).any()):
            age = (at - torch.arange(window)) % window
            visible = (age < self._real[:, None])[:, None, None]
        angles = angles_of(torch.tensor([at]), self._width)
        return AttentionMask(angles, visible, slice(at % window, at % window + 1), None)

    def add(self, states: Sequence[LMState]) -> None:
        """Let streams come, after those that are there.

        Args:
            states: of one stream each, without padding, in which something was predicted; they
                stay as they are.
        """
        first, window = len(self), self._model.config.window
        keys = [state.window[0][0].shape[2] for state in states]
        self._rings = [_roomy(ring, first + len(states)) for ring in self._rings]
        for i, (state, many) in enumerate(zip(states, keys, strict=True), first):
            place = torch.arange(self._at - many, self._at)
            angles, slot = angles_of(place, self._width), place % window
            for ring, (k, v) in zip(self._rings, state.window, strict=True):
                for part, new in zip(ring, (k, turned_by(k, angles), v), strict=True):
                    part[i][:, slot] = new[0]
        self._real = torch.cat([self._real, torch.tensor(keys)])
        own = [LMState(self._memory, pending=self._pending)] if first else []
        together = LMState.concat([*own, *(LMState(s.memory, pending=s.pending) for s in states)])
        self._memory, self._pending = together.memory, together.pending

    def drop(self, leaving: Collection[int]) -> list[int]:
        """Let streams go: the last ones take their places. Returns where each was before."""
        order = list(range(len(self)))
        for i in sorted(leaving, reverse=True):
            order[i] = order[-1]
            order.pop()
        for i, before in enumerate(order):
            if i != before:
                for ring in self._rings:
                    for part in ring:
                        part[i] = part[before]
        self._real = self._real[order]
        left = LMState(self._memory, pending=self._pending).select(order)
        self._memory, self._pending = left.memory, left.pending
        return order

    def state(self, stream: int) -> LMState:
        """A copy of the state of one stream."""
        window, at = self._model.config.window, self._at
        place = torch.arange(at - min(int(self._real[stream]), window - 1), at) % window
        windows = tuple(
            (ring.keys[stream, :, place][None], ring.values[stream, :, place][None])
            for ring in self._rings
        )
        one = LMState(self._memory, pending=self._pending).select([stream])
        return LMState(one.memory, windows, pending=one.pending)


def _roomy(ring: Ring, streams: int) -> Ring:
    """The same with room for so many streams, and then some."""
    have, *shape = ring.keys.shape
    if have >= streams:
        return ring
    made = Ring(*(part.new_zeros(max(streams, 2 * have), *shape) for part in ring))
    for part, old in zip(made, ring, strict=True):
        part[:have] = old
    return made
