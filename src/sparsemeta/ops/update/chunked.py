r"""Equations (3)-(5), exactly, parallel over chunks of time.

Inside a chunk of C steps an address is a row of a small dense matrix over the U slots that the
chunk touches. With L the running log-retention of each slot, D = diag(rate), and

    A_{ts} = \sum_i W_t[i] W_s[i] e^{L_t[i] - L_s[i]}   (s < t)
    Q_{ts} = \sum_i R_t[i] W_s[i] e^{L_t[i] - L_s[i]}   (s <= t)

the updates that the delta rule writes solve one unit-triangular system (the WY form),

    (I + D A) X = D (V - (W e^L) S)
    O  = (R e^L) S + Q X
    S' = e^{L_C} S + (W e^{L_C - L})^T X

where S holds the touched rows before the chunk and S' after it. Only these last three products run
chunk after chunk; everything else is computed for the whole segment at once.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsemeta.ops.compiled import at_hand
from sparsemeta.ops.types import Address, Function, Segment
from sparsemeta.ops.update.compact import compact

CHUNK = 64
"""C, steps to a chunk: the triangular system grows with its square, the loop with its inverse."""

FORGOTTEN = -1e4
"""A log-retention that is zero in any dtype: keeps the difference of two -inf out of the sums."""


def scan_chunked(segment: Segment, rows: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    """Run a segment, its addresses in [0, U), over its touched rows (B, H, U, V).

    Returns what was read, (B, T, H, V), and the rows after the segment.
    """
    with torch.autocast(rows.device.type, enabled=False):  # a memory in bf16 would drift
        return _scan(segment, rows, rule)


def _scan(segment: Segment, rows: Tensor, rule: str) -> tuple[Tensor, Tensor]:
    batch, time, heads, _ = segment.value.shape
    length = min(CHUNK, time)

    def chunks(x: Tensor) -> Tensor:  # (B, T, H, ...) -> (B*H, T/C, C, ...), padded with zeros
        missing = -time % length
        if missing:
            x = torch.cat([x, x.new_zeros(batch, missing, *x.shape[2:])], dim=1)
        return x.movedim(2, 1).flatten(0, 1).unflatten(1, (-1, length))

    write, read = segment.write.map(chunks), segment.read.map(chunks)
    write, read, slots = _local(write, read, rows.shape[2])
    width = slots.shape[-1]
    writes, reads = _scatter(write, width), _scatter(read, width)
    beta, v = chunks(segment.rate)[..., None], chunks(segment.value)

    if segment.log_retention is None:
        log_decay = None
        kept_writes, kept_reads, left_writes = writes, reads, writes
        decay = torch.ones_like(writes[..., -1, :])
    else:
        g = chunks(segment.log_retention.clamp(min=FORGOTTEN))[..., None]
        touched = torch.zeros_like(writes).scatter(-1, write.index, 1.0)
        log_decay = (touched * g).cumsum(-2)
        last = log_decay[..., -1:, :]
        kept_writes = writes * log_decay.exp()
        kept_reads = reads * log_decay.exp()
        left_writes = writes * (last - log_decay).exp()
        decay = last.squeeze(-2).exp()

    recalled = _decayed_products(reads, writes, log_decay).tril()
    if rule == "delta":
        overlap = (beta * _decayed_products(writes, writes, log_decay)).tril(-1)
        right = beta * torch.cat([v, kept_writes], dim=-1)
        solved = torch.linalg.solve_triangular(overlap, right, upper=False, unitriangular=True)
        fresh, corrected = solved.split([v.shape[-1], width], dim=-1)
    else:
        fresh, corrected = beta * v, torch.zeros_like(writes)

    output, final = _Recurrence.apply(
        slots, corrected, fresh, kept_reads, recalled, left_writes, decay, rows.flatten(0, 1)
    )
    output = output.flatten(1, 2)[:, :time].unflatten(0, (batch, heads)).movedim(1, 2)
    return output, final.unflatten(0, (batch, heads))


def _local(write: Address, read: Address, slots: int) -> tuple[Address, Address, Tensor]:
    """Rename each chunk's slots 0, 1, ...; returns both addresses and the slots (G, chunks, U)."""
    groups, count, length, _ = write.index.shape
    if slots <= length * (write.index.shape[-1] + read.index.shape[-1]):
        every = torch.arange(slots, device=write.index.device)
        return write, read, every.expand(groups, count, slots)
    # compact() names rows per (batch, head): let chunks be its batch and groups its heads.
    write, read = (address.map(lambda x: x.permute(1, 2, 0, 3)) for address in (write, read))
    local = compact(write, read, None, slots)
    write, read = (address.map(lambda x: x.permute(2, 0, 1, 3)) for address in local[-2:])
    return write, read, local.slot.transpose(0, 1)


def _scatter(address: Address, width: int) -> Tensor:
    """An address as dense rows (..., U); a slot named twice gets the sum of its weights."""
    index, weight = address
    return weight.new_zeros(*weight.shape[:-1], width).scatter_add(-1, index, weight)


def _decayed_products(x: Tensor, y: Tensor, log_decay: Tensor | None) -> Tensor:
    r"""$G_{ts} = \sum_i x_t[i] y_s[i] e^{L_t[i] - L_s[i]}$ for s <= t; meaningless above.

    The exponent is at most 0, but its two factors are not: $e^{-L_s}$ overflows after a few strong
    decays. So whenever the decay across the steps is large, halve them: between the halves both
    factors taken from the border are at most 1, and inside each half the same is done again.
    """
    if log_decay is None:
        return x @ y.mT
    length = x.shape[-2]
    first = log_decay[..., :1, :]
    span = first - log_decay[..., -1:, :]
    if length == 1 or (at_hand(span) and float(span.detach().max()) < 30.0):
        return (x * (log_decay - first).exp()) @ (y * (first - log_decay).exp()).mT
    half = length // 2
    border = log_decay[..., half - 1 : half, :]
    early, late = slice(None, half), slice(half, None)
    x_late = x[..., late, :] * (log_decay[..., late, :] - border).exp()
    y_early = y[..., early, :] * (border - log_decay[..., early, :]).exp()
    between = x_late @ y_early.mT
    top, bottom = (
        _decayed_products(x[..., part, :], y[..., part, :], log_decay[..., part, :])
        for part in (early, late)
    )
    below = torch.cat([between, bottom], dim=-1)
    return torch.cat([pad(top, (0, length - half)), below], dim=-2)


class _Recurrence(Function):
    """The sequential part: gather a chunk's rows, read and write them, put them back.

    The table is updated in place and only the gathered rows are saved, so that time and memory are
    those of the touched rows. Autograd would copy the table once a chunk.

    With G = B*H groups, n chunks of C steps and U rows a chunk: slots (G, n, U); corrected, reads,
    left (G, n, C, U); fresh (G, n, C, V); recalled (G, n, C, C); decay (G, n, U); table (G, N, V).
    """

    @staticmethod
    def forward(ctx, *given):
        slots, corrected, fresh, reads, recalled, left, decay, table = given
        table = torch.cat([table, torch.zeros_like(table[:, :1])], dim=1)  # for what pads U
        steps = []
        for c in range(slots.shape[1]):
            at = slots[:, c, :, None].expand(-1, -1, table.shape[2])
            rows = table.gather(1, at)
            update = fresh[:, c] - corrected[:, c] @ rows
            table.scatter_(1, at, decay[:, c, :, None] * rows + left[:, c].mT @ update)
            steps.append((reads[:, c] @ rows + recalled[:, c] @ update, rows, update))
        output, *saved = (torch.stack(found, dim=1) for found in zip(*steps, strict=True))
        ctx.save_for_backward(slots, corrected, reads, recalled, left, decay, *saved)
        return output, table[:, :-1].contiguous()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_output, d_table):
        slots, corrected, reads, recalled, left, decay, rows, updates = ctx.saved_tensors
        d_table = torch.cat([d_table, torch.zeros_like(d_table[:, :1])], dim=1)
        steps = []
        for c in reversed(range(slots.shape[1])):
            at = slots[:, c, :, None].expand(-1, -1, d_table.shape[2])
            d_new = d_table.gather(1, at)
            d_update = recalled[:, c].mT @ d_output[:, c] + left[:, c] @ d_new
            d_old = reads[:, c].mT @ d_output[:, c] - corrected[:, c].mT @ d_update
            d_table.scatter_(1, at, d_old + decay[:, c, :, None] * d_new)
            steps.append((d_update, d_new))
        d_update, d_after = (torch.stack(x, dim=1) for x in zip(*steps[::-1], strict=True))
        return (
            None,
            -d_update @ rows.mT,
            d_update,
            d_output @ rows.mT,
            d_output @ updates.mT,
            updates @ d_after.mT,
            (d_after * rows).sum(-1),
            d_table[:, :-1],
        )
