"""Random segments for the tests of `scan`, and how two runs are compared."""

from dataclasses import dataclass, replace
from unittest import mock

import torch
from torch import Tensor

from sparsemeta.ops import Address, Segment, scan

DIFFERENTIABLE = ("write_weight", "value", "rate", "log_retention", "read_weight", "initial")


@dataclass(frozen=True)
class Case:
    """The arguments of `scan`, in float64."""

    write_index: Tensor
    write_weight: Tensor
    value: Tensor
    rate: Tensor
    log_retention: Tensor
    read_index: Tensor
    read_weight: Tensor
    slots: int
    initial: Tensor
    mask: Tensor
    reset: Tensor
    rule: str = "delta"

    @property
    def segment(self) -> Segment:
        write = Address(self.write_index, self.write_weight)
        read = Address(self.read_index, self.read_weight)
        return Segment(write, self.value, self.rate, self.log_retention, read)

    def scan(self, chunk=64, scan=scan, **options):
        given = {"initial": self.initial, "mask": self.mask, "reset": self.reset, "rule": self.rule}
        with mock.patch("sparsemeta.ops.update.chunked.CHUNK", chunk):
            return scan(self.segment, slots=self.slots, **given | options)

    def part(self, start: int, stop: int, initial: Tensor) -> "Case":
        """Its steps from start to stop, beginning with another memory."""
        time = self.mask.shape[1]
        cut = {
            name: tensor[:, start:stop]
            for name, tensor in vars(self).items()
            if isinstance(tensor, Tensor) and name != "initial" and tensor.shape[1] == time
        }
        return replace(self, **cut, initial=initial)


def segment(
    batch=2,
    time=20,
    heads=2,
    active=3,
    read_active=2,
    width=4,
    slots=8,
    *,
    decay=1.0,
    masked=0.2,
    resets=0.1,
    rule="delta",
    seed=0,
) -> Case:
    """A segment whose addresses repeat slots, within a step and between steps."""
    g = torch.Generator().manual_seed(seed)

    def uniform(*shape):
        return torch.rand(*shape, generator=g, dtype=torch.float64)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=torch.float64)

    def unit(*shape):
        weight = uniform(*shape) + 0.01
        return weight / weight.sum(-1, keepdim=True)  # so that doubled slots stay within norm 1

    def slot(*shape):
        return torch.randint(0, slots, shape, generator=g)

    return Case(
        write_index=slot(batch, time, heads, active),
        write_weight=unit(batch, time, heads, active),
        value=normal(batch, time, heads, width),
        rate=uniform(batch, time, heads),
        log_retention=-decay * uniform(batch, time, heads),
        read_index=slot(batch, time, heads, read_active),
        read_weight=unit(batch, time, heads, read_active),
        slots=slots,
        initial=normal(batch, heads, slots, width),
        mask=uniform(batch, time) >= masked,
        reset=uniform(batch, time) < resets,
        rule=rule,
    )


def run(case: Case, **options) -> dict[str, Tensor]:
    """Outputs of `scan` and the gradients of a fixed non-linear function of them."""
    leaves = {name: getattr(case, name).clone().requires_grad_() for name in DIFFERENTIABLE}
    read, final = replace(case, **leaves).scan(**options)
    read = torch.where(case.mask[:, :, None, None], read, 0)
    (read.sin().sum() + final.cos().sum()).backward()
    outputs = {"read": read.detach(), "final": final.detach()}
    return outputs | {f"d_{name}": leaf.grad for name, leaf in leaves.items()}


def worst_error(found: dict[str, Tensor], expected: dict[str, Tensor]) -> float:
    """The largest relative error (in norm) of any tensor of a run."""
    return max(
        ((found[name] - expected[name]).norm() / expected[name].norm().clamp_min(1e-2)).item()
        for name in expected
    )
