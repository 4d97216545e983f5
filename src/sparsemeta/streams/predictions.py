"""What a model says of a stream, to be scored like an oracle's predictions."""

import torch
from torch import Tensor, nn

from sparsemeta.streams.stream import Stream


@torch.no_grad()
def predictions(model: nn.Module, stream: Stream, *, segment: int = 1024) -> Tensor:
    """Go through streams with a model's weights as they are.

    Args:
        model: called like a `StreamLearner`; on the stream's device.
        stream: of T steps.
        segment: steps at a time, which bounds memory and changes nothing else.

    Returns:
        Like `stream.target`: the likeliest labels, or values.
    """
    training, state, found = model.training, None, []
    model.eval()
    for cut in zip(*(tensor.split(segment, dim=1) for tensor in stream), strict=True):
        part = Stream(*cut)
        predicted, state = model(part.input, part.feedback, part.taught, state)
        found.append(predicted if part.target.is_floating_point() else predicted.argmax(-1))
    model.train(training)
    return torch.cat(found, dim=1)
