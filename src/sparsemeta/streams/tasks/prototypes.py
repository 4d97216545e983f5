"""Running-mean prototypes: the baseline of every class-ordered stream."""

import torch
from torch import Tensor

from sparsemeta.streams.stream import Stream


def prototypes(stream: Stream, outputs: int) -> Tensor:
    """The label whose mean input so far is nearest: a memory of nothing but running means.

    Args:
        stream: of labelled inputs (B, T, *shape).
        outputs: the number of labels.

    Returns:
        (B, T) int64 labels; 0 where no stream is scored, and before anything was taught.
    """
    x = stream.input.flatten(2)
    row = torch.arange(len(x), device=x.device)
    total = x.new_zeros(len(x), outputs, x.shape[-1])
    count = x.new_zeros(len(x), outputs)
    nearest = torch.zeros_like(stream.feedback)
    for step, asked in enumerate(stream.scored.any(0).tolist()):
        now, label, taught = x[:, step], stream.feedback[:, step], stream.taught[:, step]
        if asked:
            distance = (total / count.clamp(min=1)[..., None] - now[:, None]).square().sum(-1)
            nearest[:, step] = distance.masked_fill(count == 0, torch.inf).argmin(-1)
        total[row, label] += now * taught[:, None]
        count[row, label] += taught
    return nearest
