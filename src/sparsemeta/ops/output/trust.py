"""Table memory, looked at: which contexts it knows, and how far its gate trusts them."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsemeta.ops.output.gate_reference import DEPTHS, EVIDENCE, LIMIT, RECENT, Evidence, weights
from sparsemeta.ops.output.heads import BYTES, Heads


class Trust(NamedTuple):
    """How far a gate trusts its heads.

    Attributes:
        known: (H,), of all tokens, the share that came in a context which the head knew.
        speaks: (H,), how far the head then replaces what the model and the heads before it say.
        weights: (1 + H,), of the model and the heads in a prediction, on average.
    """

    known: Tensor
    speaks: Tensor
    weights: Tensor


def by_evidence(start: Tensor, theta: Tensor, moved: Tensor) -> Tensor:
    """Logits (H, EVIDENCE) of each head's speaking, what goes by other things being as it was.

    On average, that is: over the tokens that were read.

    Args:
        start: (H, EVIDENCE).
        theta: (H, SETS).
        moved: (H, SETS), how often each was moved.
    """
    (own, *rest), (_, *often) = (x.split([EVIDENCE, DEPTHS, *RECENT], -1) for x in (theta, moved))
    pairs = zip(rest, often, strict=True)
    means = [(x * n).sum(-1, keepdim=True) / n.sum(-1, keepdim=True).clamp(min=1) for x, n in pairs]
    return start + own + sum(means)


def trust(logit: Tensor, slow: Tensor, moved: Tensor, tokens: int) -> Trust:
    """How far a gate trusts its heads, given such evidence as there has been so far.

    Which heads knew a context at the same time is not kept. The mean weights are those that follow
    if a token that comes in a context known to one head does so for all that know contexts more
    often, as is so where these are shorter.

    Args:
        logit: (H, EVIDENCE), of each head's speaking by its evidence.
        slow: (T, H), what is added to it at each of some steps, over which the mean is taken.
        moved: (H, SETS), how often each weight was moved, as it was at such evidence.
        tokens: how many were read.
    """
    often = moved[:, :EVIDENCE].double()
    known = often.sum(-1) / max(1, tokens)
    speaks = (logit + slow[..., None]).clamp(-LIMIT, LIMIT).sigmoid()
    speaks = (often * speaks).sum(-1) / often.sum(-1).clamp(min=1)
    levels, order = known.sort(descending=True)
    edges = torch.cat([levels.new_ones(1), levels, levels.new_zeros(1)])
    depth = torch.arange(len(known) + 1)[:, None, None]  # how many of them know the context
    knowing = torch.where(order.argsort() < depth, speaks, 0).flatten(0, 1)
    each = torch.vmap(weights)(knowing).unflatten(0, (len(depth), -1)).mean(1)
    return Trust(known, speaks.mean(0), -edges.diff() @ each)


def belief(logit: Tensor, head: Tensor, mass: Tensor, distinct: Tensor) -> Tensor:
    """How far heads (n,) replace what was said before, in contexts of this evidence, each (n,)."""
    return logit[head, Evidence(mass, distinct).chosen].clamp(-LIMIT, LIMIT).sigmoid()


def number_all(recent: Tensor, heads: Heads, spelling: Tensor) -> Tensor:
    """Number the contexts that stand after some tokens.

    Args:
        recent: (n, L) int64, newest last; -1 where there are none.
        heads: the contexts.
        spelling: (V, m) int32, the last bytes of each token, newest last; -1 where it has fewer.

    Returns:
        (n, H) int64, -1 where a context needs more tokens, or is no exact one.
    """
    from sparsemeta.ops.output.contexts import number_contexts

    exact = heads.exact
    number = torch.full((len(recent), len(exact)), -1)
    hashed = np.empty((2, 1 + max(recent.shape[1], spelling.shape[1])), np.uint64)
    kind, order = heads.kind[exact], heads.order[exact]
    rules = [x.numpy() for x in (spelling, kind == BYTES, order)]
    numbers = number[:, exact].numpy()
    with np.errstate(over="ignore"):  # hashes wrap around
        for past, found in zip(recent.numpy(), numbers, strict=True):
            number_contexts(past, *rules, hashed, found)
    number[:, exact] = torch.from_numpy(numbers)
    return number
