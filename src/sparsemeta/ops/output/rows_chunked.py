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
from jaxtyping import Bool, Int
from torch import Tensor

from sparsemeta.ops.compiled import at_hand
from sparsemeta.ops.output.types import EPOCH, Outcomes, Rows, Scores


def rows_chunked(
    outcomes: Outcomes,
    before: Rows,
    classes: Int[Tensor, "B N"],
    mask: Bool[Tensor, "B T"],
    reset: Bool[Tensor, "B T"],
    *,
    donate: bool = False,
) -> tuple[Scores, Rows]:
    """Run a segment over the rows held; differentiable in every floating-point argument.

    Args:
        outcomes: the segment, in rows of the table; a step that writes nothing may name any.
        before: the rows before it.
        classes: what the first N rows are rows of; the others hold nothing.
        mask: True where the step is real; one that is not changes nothing.
        reset: True empties the memory before that step.
        donate: allow `before` to be overwritten, where no gradient is wanted.

    Returns:
        Scores, unspecified at masked steps, with rows of the table for what was observed; and the
        rows after the segment.
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
    scores = _carried(reach, before, classes, log_retention)
    writes = (rate > 0).any(-1)
    last = writes & (life == life[:, -1:]) & ~(same & writes[..., None]).tril(-1).any(1)
    donate = donate and not torch.is_grad_enabled()
    after = _after(before, row, written, last, mask, reset, clock, donate)
    return Scores((*scores.score, fresh), (*scores.classes, row)), after


def _decay(log_retention: Tensor, steps: Tensor) -> Tensor:
    """What every head (..., H) keeps over some steps (...)."""
    return (log_retention * steps[..., None]).exp()


def _carried(reach: Tensor, before: Rows, classes: Tensor, log_retention: Tensor) -> Scores:
    """Scores of the rows of classes (B, N) by queries (B, T, H, K).

    What a head has forgotten, but for less than rounding, is not read; most rows are old. The
    heads that know a row are those of the longest memory, so rows are grouped by how many; where
    the sizes of groups would have to be waited for, all is one.
    """
    heads, most = len(log_retention), classes.max() + 1
    idle = before.clock[:, None] - before.stamp[:, : classes.shape[1]]
    left = _decay(log_retention, idle)
    if not at_hand(left):
        contents = before.contents(heads)[:, : classes.shape[1]] * left[..., None]
        return Scores((reach.flatten(2) @ contents.flatten(2).mT,), (classes,))
    known = (left > torch.finfo(left.dtype).eps).sum(-1).amax(0)
    # In order of classes within a group: scores are then added to logits from left to right.
    classes, order = (classes + known * most).sort()
    classes = classes % most
    contents = _take(before.table, order)[..., :-1].unflatten(2, (heads, -1))
    left, longest = _take(left, order)[..., None], log_retention.argsort(descending=True)
    score, shares = [], known.bincount(minlength=heads + 1).tolist()
    parts = zip(contents.split(shares, 1), left.split(shares, 1), strict=True)
    for number, (part, share) in enumerate(parts):
        some = longest[:number]
        query, part, share = (x.index_select(2, some) for x in (reach, part, share))
        score.append(query.flatten(2) @ (part * share).flatten(2).mT)
    return Scores(tuple(score[1:]), classes.split(shares, 1)[1:])


def _take(tensor: Tensor, rows: Tensor) -> Tensor:
    """Rows (B, N) of a tensor (B, C, W)."""
    places = rows + torch.arange(len(rows), device=rows.device)[:, None] * tensor.shape[1]
    return tensor.flatten(0, 1).index_select(0, places.flatten()).view(*rows.shape, -1)


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
    if not at_hand(reset) or reset.any():
        table = torch.where(reset.any(1)[:, None, None], 0, table)
    elif not donate:
        table = table.clone()
    clock = clock - torch.where(reset, clock - mask.long(), 0).amax(1, keepdim=True)
    stamp = (clock / EPOCH).to(written.dtype)
    rows = torch.cat([written.flatten(2), stamp[..., None]], dim=-1)
    if not at_hand(last):
        return Rows(_put_last(table, row, rows, last), clock.amax(1))
    stream, step = last.nonzero(as_tuple=True)
    rows, row = rows[stream, step], row[stream, step]
    return Rows(table.index_put_((stream, row), rows), clock.amax(1))


def _put_last(table: Tensor, row: Tensor, rows: Tensor, last: Tensor) -> Tensor:
    """Put the rows (B, T, W) of some steps in place, without asking which these are.

    What the others put is what one of these does, or where there is none what was there. A
    gradient goes through one of equals.
    """
    stream = torch.arange(len(row), device=row.device)[:, None]
    step = last.long().argmax(1, keepdim=True)
    spare, any_last = row.gather(1, step), last.any(1, keepdim=True)
    there = table[stream, spare]
    again = torch.where(any_last[..., None], rows[stream, step], there).detach()
    again = torch.where(last[..., None], rows, again.expand_as(rows))
    again = torch.cat([torch.where(any_last[..., None], again[:, :1], there), again[:, 1:]], 1)
    return table.index_put_((stream, torch.where(last, row, spare)), again)
