"""Random segments of a row memory, and how its two forms are run and compared."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sparsemeta.ops import Outcomes, Scores
from sparsemeta.ops.output.rows_chunked import rows_chunked
from sparsemeta.ops.output.rows_reference import rows_reference
from sparsemeta.ops.output.types import EPOCH, Rows

DIFFERENTIABLE = ("key", "rate", "query", "log_retention")


@dataclass(frozen=True)
class Case:
    """A segment over V classes, in float64; `memory` has a row for each."""

    outcomes: Outcomes
    memory: Tensor
    mask: Tensor
    reset: Tensor

    def part(self, start: int, stop: int) -> "Case":
        """Its steps from start to stop."""
        *steps, log_retention = self.outcomes
        outcomes = Outcomes._make([*(x[:, start:stop] for x in steps), log_retention])
        return replace(
            self, outcomes=outcomes, mask=self.mask[:, start:stop], reset=self.reset[:, start:stop]
        )


def case(batch=2, time=12, heads=2, width=3, classes=5, *, masked=0.2, resets=0.1, seed=0) -> Case:
    """A segment in which the same classes come again and again."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    return Case(
        Outcomes(
            observed=torch.randint(0, classes, (batch, time), generator=g),
            key=normal(batch, time, heads, width),
            rate=uniform(batch, time, heads),
            query=normal(batch, time, heads, width),
            log_retention=-uniform(heads),
        ),
        memory=normal(batch, classes, heads, width),
        mask=uniform(batch, time) >= masked,
        reset=uniform(batch, time) < resets,
    )


def rows_of(memory: Tensor) -> Rows:
    """A memory as rows that were all written just now, whichever step that is."""
    stamp = memory.new_full((*memory.shape[:2], 1), 7 / EPOCH)
    clock = torch.full((len(memory),), 7)
    return Rows(torch.cat([memory.flatten(2), stamp], dim=-1), clock)


def run_chunked(given: Case, rows: Rows, **options) -> tuple[Scores, Rows]:
    """The chunked form, where row i is class i, and further rows are free."""
    batch, count = given.memory.shape[:2]
    classes = torch.arange(count).expand(batch, -1)
    return rows_chunked(given.outcomes, rows, classes, given.mask, given.reset, **options)


def added(scores: Scores, classes: int) -> Tensor:
    """What scores add to the logits of all classes."""
    return scores.add_to(scores.score[-1].new_zeros(*scores.score[-1].shape[:2], classes))


def chunked(given: Case, cuts: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """What the chunked form adds to all logits, and the memory after, over pieces of a segment."""
    rows, parts = rows_of(given.memory), []
    stops = [*cuts, given.mask.shape[1]]
    for start, stop in zip([0, *cuts], stops, strict=True):
        part = given.part(start, stop)
        scores, rows = run_chunked(part, rows)
        parts.append(added(scores, given.memory.shape[1]))
    return torch.cat(parts, 1), rows.now(given.outcomes.log_retention)


def reference(given: Case) -> tuple[Tensor, Tensor]:
    """The same by the loop."""
    return rows_reference(given.outcomes, given.memory, given.mask, given.reset)


def run(form, given: Case, **options) -> dict[str, Tensor]:
    """Outputs of a form, and the gradients of a fixed non-linear function of them."""
    leaves = {k: getattr(given.outcomes, k).clone().requires_grad_() for k in DIFFERENTIABLE}
    memory = given.memory.clone().requires_grad_()
    given = replace(given, outcomes=given.outcomes._replace(**leaves), memory=memory)
    scores, after = form(given, **options)
    scores = torch.where(given.mask[..., None], scores, 0)
    (scores.sin().sum() + after.cos().sum()).backward()
    outputs = {"scores": scores.detach(), "after": after.detach(), "d_memory": memory.grad}
    return outputs | {f"d_{name}": leaf.grad for name, leaf in leaves.items()}
