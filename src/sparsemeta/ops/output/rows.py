"""The row memory over a table of the rows of classes that came, or of all classes."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from sparsemeta.ops.compiled import usable
from sparsemeta.ops.output.rows_chunked import rows_chunked
from sparsemeta.ops.output.types import Outcomes, Rows, Scores
from sparsemeta.ops.table.slots import Held, locate
from sparsemeta.ops.types import Address, Segment

FEW = 8
"""Up to this many steps, a loop over them is faster than one product with all rows."""


def run_rows(
    outcomes: Outcomes,
    held: Held,
    clock: Int[Tensor, " B"],
    mask: Bool[Tensor, "B T"] | None,
    reset: Bool[Tensor, "B T"] | None,
    *,
    donate: bool = False,
) -> tuple[Scores, Held, Int[Tensor, " B"]]:
    """Run a segment; differentiable in every floating-point argument.

    Args:
        outcomes: the segment; a step that writes nothing may name any class.
        held: the rows before it, of one head whose slots are the V classes.
        clock: real steps before it, since the memory was empty.
        mask: True where the step is real; one that is not changes nothing. All are if None.
        reset: True empties the memory before that step.
        donate: allow `held` to be overwritten, where no gradient is wanted.

    Returns:
        What is added to the logits, unspecified at masked steps; the rows after the segment; and
        the clock after it.
    """
    few = outcomes.observed.shape[1] <= FEW and reset is None and not torch.is_grad_enabled()
    if few and usable(held.table):
        from sparsemeta.ops.output.rows_native import rows_native

        return rows_native(outcomes, held, clock, mask, donate=donate)
    observed, classes = outcomes.observed, _claimed(held.slot)
    # A reset would free rows in place, whose classes are still to be named.
    rows, after = _claim(outcomes, held, reset, donate=donate and reset is None)
    scores, (table, clock) = rows_chunked(
        outcomes._replace(observed=rows),
        Rows(after.table[:, 0], clock),
        classes,
        torch.ones_like(observed, dtype=torch.bool) if mask is None else mask,
        torch.zeros_like(observed, dtype=torch.bool) if reset is None else reset,
        donate=donate or after.table is not held.table,  # it was copied when it grew
    )
    return (
        scores._replace(classes=(*scores.classes[:-1], observed)),
        after._replace(table=table[:, None]),
        clock,
    )


def run_all_rows(
    outcomes: Outcomes,
    before: Rows,
    mask: Bool[Tensor, "B T"] | None,
    reset: Bool[Tensor, "B T"] | None,
    *,
    donate: bool = False,
) -> tuple[Scores, Rows]:
    """Run a segment as `run_rows` does, where there is a row for every class: row i is class i.

    On a GPU that is quicker than to ask which classes came, and to wait for the answer.
    """
    observed = outcomes.observed
    classes = torch.arange(before.table.shape[1], device=observed.device)
    return rows_chunked(
        outcomes,
        before,
        classes.expand(len(observed), -1),
        torch.ones_like(observed, dtype=torch.bool) if mask is None else mask,
        torch.zeros_like(observed, dtype=torch.bool) if reset is None else reset,
        donate=donate,
    )


def _claim(
    outcomes: Outcomes, held: Held, reset: Tensor | None, *, donate: bool
) -> tuple[Tensor, Held]:
    """The row (B, T) of every class that is written, and the rows with those that it claims."""
    rate = outcomes.rate
    write = Address(outcomes.observed[..., None, None], rate[..., :1, None])
    read = write.map(lambda tensor: tensor[..., :0])
    segment = Segment(write, outcomes.key, rate, None, read)
    written, classes = (rate > 0).any(-1), int(held.slot[0, 0, 0])
    segment, held = locate(held, segment, written, reset, capacity=classes, donate=donate)
    return segment.write.index[..., 0, 0], held


def _claimed(slot: Tensor) -> Tensor:
    """The classes (B, n) of the rows (B, 1, C) that any stream has claimed, row 0 before them."""
    if usable(slot):
        from sparsemeta.ops.table.hashing import occupied

        return slot[:, 0, : occupied(slot) + 1]
    return slot[:, 0, : int((slot != slot[..., :1]).sum(-1).max()) + 1]
