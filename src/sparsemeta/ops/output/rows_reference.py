r"""The row memory as a plain loop over time: the ground truth of its fast form.

$$M_t = \lambda M_{t-1}, \qquad M_t[x_t] \mathrel{+}= \beta_t (k_t - M_t[x_t]), \qquad
  a_t[w] = q_t \cdot M_t[w]$$
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparsemeta.ops.output.types import Outcomes


def rows_reference(
    outcomes: Outcomes,
    memory: Float[Tensor, "B V H K"],
    mask: Bool[Tensor, "B T"],
    reset: Bool[Tensor, "B T"],
) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B V H K"]]:
    """Decay all rows, write one, read all: step by step, with a row for every class.

    Args:
        outcomes: the segment; a row is a class.
        memory: M before it.
        mask: True where the step is real; one that is not changes nothing.
        reset: True empties the memory before that step.

    Returns:
        What is added to the logits, unspecified at masked steps; and M after the segment.
    """
    *steps, log_retention = outcomes
    stream = torch.arange(memory.shape[0])
    added = []
    for x, key, rate, query, real, fresh in zip(
        *(tensor.unbind(1) for tensor in (*steps, mask, reset)), strict=True
    ):
        memory = torch.where(fresh[:, None, None, None], 0, memory)
        kept = log_retention.exp()[:, None] * memory
        change = rate[..., None] * (key - kept[stream, x])
        written = kept.index_put((stream, x), change, accumulate=True)
        memory = torch.where(real[:, None, None, None], written, memory)
        added.append(torch.einsum("bhk,bvhk->bv", query, memory))
    return torch.stack(added, dim=1), memory
