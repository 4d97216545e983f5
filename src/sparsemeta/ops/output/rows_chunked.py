r"""The row memory, exactly, for a whole segment at once.

Let $c_t$ count real steps and $D_{ts} = \lambda^{c_t - c_s}$ for s <= t. What step t adds to its
row is $d_t$; those of one row follow from one another, by one unit lower triangular system,

    (I + L) d = \beta (k - m),   L_{ts} = \beta_t D_{ts} [x_t = x_s] (s < t)

with m_t the row of $x_t$ before the segment, decayed until t. Then

    M_t[x_t] = m_t + \sum_s D_{ts} [x_t = x_s] d_s
    a_t[w]   = q_t \cdot \lambda^{c_t - stamp_w} M_0[w] + \sum_s D_{ts} [x_s = w] q_t \cdot d_s

so what was carried is read by one product with the rows held, and no row is decayed before it is
written again. Time and memory are those of the rows held and of T^2, whatever the classes.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from sparsemeta.ops.output.types import EPOCH, Outcomes, Rows

SHORT = 4
"""Up to this many steps, scores are fewer than the numbers in the rows: they are decayed."""


def rows_chunked(
    outcomes: Outcomes,
    before: Rows,
    mask: Bool[Tensor, "B T"],
    reset: Bool[Tensor, "B T"],
    *,
    held: int | None = None,
    donate: bool = False,
) -> tuple[Float[Tensor, "B T C"], Float[Tensor, "B T T"], Rows]:
    """Run a segment over the rows held; differentiable in every floating-point argument.

    Args:
        outcomes: the segment, in rows of the table; a step that writes nothing may name any.
        before: the rows before it.
        mask: True where the step is real; one that is not changes nothing.
        reset: True empties the memory before that step.
        held: how many rows hold anything, the first ones; None is all.
        donate: allow `before` to be overwritten, where no gradient is wanted.

    Returns:
        Scores of the first `held` rows by what was carried, and of the rows written by what each
        step changed, both unspecified at masked steps; and the rows after the segment.
    """
    with torch.autocast(outcomes.key.device.type, enabled=False):  # a memory in bf16 would drift
        row, key, rate, query, log_retention = outcomes
        key, query = (torch.where(mask[..., None, None], x, 0) for x in (key, query))
        rate = torch.where(mask[..., None], rate, 0)
        clock = before.clock[:, None] + mask.cumsum(1)
        life = reset.cumsum(1)
        carries = (life == 0)[..., None, None]  # nothing is carried beyond a reset

        stamp, contents = before.stamp, before.contents(len(log_retention))
        idle = clock - stamp.gather(1, row)
        stream = torch.arange(len(row), device=row.device)[:, None]
        kept = contents[stream, row] * _decay(log_retention, idle)[..., None]
        kept = torch.where(carries, kept, 0)

        age = clock[:, :, None] - clock[:, None]
        known = (life[:, :, None] == life[:, None]).tril()
        same = known & (row[:, :, None] == row[:, None])
        decay = _decay(log_retention, age.where(known, 0)).movedim(-1, 1)  # (B, H, T, T)
        overlap = decay * same[:, None]
        change = torch.linalg.solve_triangular(
            (rate.mT[..., None] * overlap).tril(-1),
            (rate[..., None] * (key - kept)).transpose(1, 2),
            upper=False,
            unitriangular=True,
        )
        written = kept + (overlap @ change).transpose(1, 2)
        fresh = (query.transpose(1, 2) @ change.mT * decay * known[:, None]).sum(1)
        reach = query * _decay(log_retention, clock - before.clock[:, None])[..., None]
        reach = torch.where(carries, reach, 0)
    idle = before.clock[:, None] - stamp[:, :held]
    carried = _carried(reach, contents[:, :held], _decay(log_retention, idle))
    writes = (rate > 0).any(-1)
    last = writes & (life == life[:, -1:]) & ~(same & writes[..., None]).tril(-1).any(1)
    donate = donate and not torch.is_grad_enabled()
    return carried, fresh, _after(before, row, written, last, mask, reset, clock, donate)


def _decay(log_retention: Tensor, steps: Tensor) -> Tensor:
    """What every head (..., H) keeps over some steps (...)."""
    return (log_retention * steps[..., None]).exp()


def _carried(reach: Tensor, contents: Tensor, left: Tensor) -> Tensor:
    """Scores (B, T, C) of rows (B, C, H, K) of which every head has a share left, (B, C, H)."""
    if reach.shape[1] > SHORT:
        return reach.flatten(2) @ (contents * left[..., None]).flatten(2).mT
    heads = torch.eye(reach.shape[2], dtype=reach.dtype, device=reach.device)
    by_head = (reach[..., None, :] * heads[..., None]).flatten(3).flatten(1, 2)  # (B, T H, H K)
    score = (by_head @ contents.flatten(2).mT).unflatten(1, (-1, len(heads)))
    return (score * left.mT[:, None]).sum(2)


def _after(
    before: Rows,
    row: Tensor,
    written: Tensor,
    last: Tensor,
    mask: Tensor,
    reset: Tensor,
    clock: Tensor,
    donate: bool,
) -> Rows:
    """The rows as the last step that wrote each has left it, emptied by resets."""
    table = before.table
    if reset.any():
        table = torch.where(reset.any(1)[:, None, None], 0, table)
    elif not donate:
        table = table.clone()
    clock = clock - torch.where(reset, clock - mask.long(), 0).amax(1, keepdim=True)
    stamp = (clock / EPOCH).to(written.dtype)
    stream, step = last.nonzero(as_tuple=True)
    rows = torch.cat([written.flatten(2), stamp[..., None]], dim=-1)[stream, step]
    return Rows(table.index_put_((stream, row[stream, step]), rows), clock.amax(1))
