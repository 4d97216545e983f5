"""States of single streams side by side, and apart again."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.lm import LMState


def joined(states: Sequence[LMState]) -> LMState:
    """The streams of several states side by side: short attention windows are padded.

    Each is of streams that have all been predicted for, or none of them; the states stay as they
    are.
    """
    longest = max(_keys(state) for state in states)
    real = torch.cat([_real(state) for state in states])
    padded = [_padded(state, longest) for state in states]
    made = LMState.concat(padded)
    return replace(made, real=None if bool((real == longest).all()) else real)


def parted(state: LMState, stream: int) -> LMState:
    """One stream of a state, copied, without the padding of its window."""
    real = int(_real(state)[stream])
    one = replace(state, real=None).select([stream])  # a list copies
    first = _keys(state) - real
    if first:
        window = tuple((k[:, :, first:].clone(), v[:, :, first:].clone()) for k, v in one.window)
        one = replace(one, window=window)
    return one


def _keys(state: LMState) -> int:
    """How many keys its windows have room for."""
    return state.window[0][0].shape[2]


def _real(state: LMState) -> Tensor:
    """(B,) int64, how many of the keys are real, the last ones."""
    if state.real is not None:
        return state.real
    return torch.full((state.window[0][0].shape[0],), _keys(state))


def _padded(state: LMState, keys: int) -> LMState:
    more = keys - _keys(state)
    window = state.window
    if more:
        window = tuple((pad(k, (0, 0, more, 0)), pad(v, (0, 0, more, 0))) for k, v in window)
    return replace(state, window=window, real=None)
