"""A stream whose state is no longer at hand: its memory is, and the last tokens that it read."""

from collections.abc import Sequence

import torch

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm import LanguageModel, LMState
from sparsemeta.serve.engine.tasks import Snapshot


def resumed(model: LanguageModel, memory: FastWeights, tokens: Sequence[int]) -> Snapshot:
    """Go on with a memory where a stream stood.

    The memory is as it was, bit for bit. The attention window is filled anew, by reading the last
    tokens on a copy that is thrown away: exactly, where no block has a memory and there are tokens
    enough. What is predicted next is heard from a memory that has read the last token twice.

    Args:
        model: on the CPU.
        memory: of one stream.
        tokens: the last that it read, newest last; `reach` of them are enough. None: the stream
            begins here, with an empty window.
    """
    state = model.begin(memory)
    if not tokens:
        return Snapshot(state)
    *before, last = tokens
    with torch.inference_mode():
        if before:
            ids = torch.tensor([before])
            _, _, read = model.predict(ids, state, targets=ids)
            state = LMState(memory, read.window)
        predicted, _, after = model.predict(torch.tensor([[last]]), state, steps=1)
        log_p = predicted[0, -1].float().log_softmax(-1)
    return Snapshot(LMState(memory, after.window, pending=after.pending), log_p)


def reach(model: LanguageModel) -> int:
    """How many tokens decide what is in the attention window of every block."""
    return model.config.layers * (model.config.window - 1) + 1


def empty(model: LanguageModel) -> FastWeights:
    """The memory of one stream that has read nothing."""
    return FastWeights.join({name: layer.initial_state(1) for name, layer in model.memories()})
