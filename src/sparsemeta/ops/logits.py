"""Log p of single tokens, without a copy of all logits in float32."""

import torch
from torch import Tensor

from sparsemeta.ops.types import Function

CHUNK = 2**21
"""Logits that are looked at together: few enough to stay in a processor's cache."""


def log_p(logits: Tensor, targets: Tensor) -> Tensor:
    r"""$\log p_t = s_t - \log \sum_w e^{s_w}$, summed in float32 or finer.

    Args:
        logits: (..., V), s.
        targets: (...) int64, t; where it is below zero nothing is asked, and the result is 0.

    Returns:
        (...) float32, or float64 if the logits are.
    """
    return _LogP.apply(logits.flatten(0, -2), targets.flatten()).view_as(targets)


class _LogP(Function):
    """The same for logits (N, V); their gradient is made in one pass, in their own precision."""

    @staticmethod
    def forward(ctx, logits, targets):
        rows = max(1, CHUNK // logits.shape[-1])
        total = torch.cat([fine(part).logsumexp(-1) for part in logits.split(rows)])
        right = logits.gather(-1, targets.clamp(min=0)[:, None])[:, 0]
        ctx.save_for_backward(logits, targets, total)
        return (right - total).where(targets >= 0, 0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        logits, targets, total = ctx.saved_tensors
        asked, found = targets.clamp(min=0)[:, None], torch.empty_like(logits)
        gradient = gradient.where(targets >= 0, 0)[:, None]
        every, rows = (logits, total, asked, gradient, found), max(1, CHUNK // logits.shape[-1])
        for s, z, target, wanted, out in zip(*(x.split(rows) for x in every), strict=True):
            change = (fine(s) - z[:, None]).exp_().mul_(-wanted)
            out.copy_(change.scatter_add_(-1, target, wanted))
        return found, None


def fine(logits: Tensor) -> Tensor:
    """In float32, or finer if they are: probabilities are never coarser."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32))
