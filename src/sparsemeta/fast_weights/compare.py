"""Two states of one layer, row by row: what differs, and both brought together."""

from __future__ import annotations

import torch
from torch import Tensor

from sparsemeta.errors import StateError
from sparsemeta.fast_weights.layer import LayerWeights, Layout


def diff(later: LayerWeights, earlier: LayerWeights) -> dict[str, float]:
    """How many rows were `added`, `removed` and `changed`, and the L2 `norm` of the change."""
    _, (now, before) = _align(later, earlier)
    is_now, was = now.any(-1), before.any(-1)
    return {
        "added": int((is_now & ~was).sum()),
        "removed": int((was & ~is_now).sum()),
        "changed": int((is_now & was & (now != before).any(-1)).sum()),
        "norm": (now - before).norm().item(),
    }


def merge(one: LayerWeights, other: LayerWeights, base: LayerWeights | None) -> LayerWeights:
    r"""What two states A and B of one layer learned since their common ancestor $M_0$.

    $$M[i] = \begin{cases} A[i] & B[i] = M_0[i] \\ B[i] & A[i] = M_0[i] \\
    (n_A A[i] + n_B B[i]) / (n_A + n_B) & \text{otherwise} \end{cases}$$

    with n the steps each has read since: a row that only one of them touched is taken as it is;
    where both wrote, the mean by what they have read, as federated averaging takes it (McMahan
    et al. 2017), keeps the size of what is recalled, where a sum would double it.

    Args:
        one: A.
        other: B; the context that the next write is keyed by is B's, if B has read anything.
        base: $M_0$; None is an empty memory.

    Raises:
        StateError: one of them has read less than the base.
    """
    _, heads, slots, width = one.shape
    began = torch.zeros_like(one.steps) if base is None else base.steps
    read, also_read = one.steps - began, other.steps - began
    if (read < 0).any() or (also_read < 0).any():
        raise StateError(
            "a memory has read less than the base, so it did not grow from it. Name the memory "
            "that both began with as the base, or none if they began empty."
        )
    index, rows = _align(one, other, *([] if base is None else [base]))
    a, b, start = rows if base else (*rows, torch.zeros_like(rows[0]))
    share = (also_read / (read + also_read).clamp(min=1)).to(a.dtype)
    mean = a.lerp(b, share[index // (heads * slots), None])
    untouched, also_untouched = ((x == start).all(-1, keepdim=True) for x in (a, b))
    merged = torch.where(also_untouched, a, torch.where(untouched, b, mean))
    kept = merged.any(-1)
    return LayerWeights.of_rows(
        Layout(heads, slots, width, capacity=None if one.slot is None else slots),
        index[kept],
        merged[kept],
        torch.where((also_read > 0)[:, None], other.last, one.last),
        began + read + also_read,
    )


def _align(*states: LayerWeights) -> tuple[Tensor, list[Tensor]]:
    """The rows that any of some states holds: their places (R,), and each state's rows (R, V)."""
    found = [state.touched() for state in states]
    every = torch.cat([index for index, _ in found]).unique()
    aligned = []
    for index, rows in found:
        aligned.append(rows.new_zeros(len(every), rows.shape[1]))
        aligned[-1][torch.searchsorted(every, index)] = rows
    return every, aligned
