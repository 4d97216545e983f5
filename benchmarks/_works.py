"""Work that the benchmarks time: segments of `scan`, and a layer that carries its state."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.fast_weights import FastWeights, LayerWeights
from sparsemeta.nn import SparseMemory
from sparsemeta.ops import Address, Segment, product_address, scan

Work = Callable[[], None]


class Inputs(NamedTuple):
    """What `scan` is given."""

    segment: Segment
    initial: Tensor


def segment(slots: int, *, time: int = 1024, active: int = 8, layered: bool = True) -> Inputs:
    """The inputs of `scan`, B 1, H 1, V 64, with a memory to go on from.

    Args:
        slots: N.
        time: T.
        active: A.
        layered: address as a layer does, by product keys, each step writing where the last one
            read; else write and read at random slots, where every row is far from every other.
    """
    if layered:
        query, keys = torch.randn(1, 1, time + 1, 64), torch.randn(2, 1, round(slots**0.5), 32)
        address = product_address(query, keys, active).map(lambda x: x.transpose(1, 2))
        written, read = slice(None, -1), slice(1, None)
    else:
        weight = normalize(torch.rand(1, 2 * time, 1, active), dim=-1)
        address = Address(torch.randint(0, slots, (1, 2 * time, 1, active)), weight)
        written, read = slice(None, time), slice(time, None)

    def part(steps: slice) -> Address:
        return Address(address.index[:, steps], address.weight[:, steps].clone().requires_grad_())

    made = Segment(
        part(written),
        torch.randn(1, time, 1, 64).requires_grad_(),
        torch.rand(1, time, 1).requires_grad_(),
        (-0.1 * torch.rand(1, time, 1)).requires_grad_(),
        part(read),
    )
    return Inputs(made, torch.randn(1, 1, slots, 64))


def scan_forward(inputs: Inputs, backend: str = "auto") -> None:
    slots = inputs.initial.shape[2]
    with torch.no_grad():
        scan(inputs.segment, slots=slots, initial=inputs.initial, donate=True, backend=backend)


def scan_both(inputs: Inputs) -> None:
    carried = inputs.initial.detach()  # the end of the last segment
    scan(inputs.segment, slots=carried.shape[2], initial=carried, donate=True)[0].sum().backward()


def filled(layer: SparseMemory, batch: int, rows: int) -> FastWeights:
    """A state that holds something in some slots of every head: the first ones of a shuffle."""
    heads, slots, width, _ = layer.layout
    chosen = torch.randperm(slots)[:rows].sort().values
    place = (torch.arange(batch * heads)[:, None] * slots + chosen).flatten()
    held = 0.1 * torch.randn(len(place), width)
    last, steps = torch.randn(batch, layer.width), torch.full((batch,), 9)
    return FastWeights({"memory": LayerWeights.of_rows(layer.layout, place, held, last, steps)})


def layer_works(slots: int, *, batch: int = 1, time: int = 1024) -> tuple[Work, Work, list[Tensor]]:
    """A layer of D 256, H 4, V 64, A 8 with product keys, going on where it stopped.

    Returns:
        One segment forward; one forward and backward; what stays in memory between segments.
    """
    config = MemoryConfig(slots=slots, active=8, heads=4, value_width=64, addressing="product")
    layer, x = SparseMemory(256, config), torch.randn(batch, time, 256)
    nn.init.normal_(layer.output.weight, std=0.05)  # zeros, as at the start, are no typical work
    state = filled(layer, batch, slots)

    def forward() -> None:
        nonlocal state
        with torch.no_grad():
            _, state = layer(x, state, donate=True)

    def both() -> None:
        nonlocal state
        layer.zero_grad()
        y, state = layer(x, state, donate=True)
        y.square().mean().backward()
        state = state.detach()

    return forward, both, [*layer.parameters(), *state.tensors().values()]
