"""Work that the benchmarks time: segments of `scan`, and a layer that carries its state."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.nn import SparseMemory
from sparsemeta.ops import product_address, scan

Work = Callable[[], None]


def segment(slots: int, *, time: int = 1024, active: int = 8, layered: bool = True) -> dict:
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
        index, weight = (x.transpose(1, 2) for x in product_address(query, keys, active))
        written, read = slice(None, -1), slice(1, None)
    else:
        index = torch.randint(0, slots, (1, 2 * time, 1, active))
        weight = normalize(torch.rand(1, 2 * time, 1, active), dim=-1)
        written, read = slice(None, time), slice(time, None)
    return {
        "write_index": index[:, written],
        "write_weight": weight[:, written].clone().requires_grad_(),
        "value": torch.randn(1, time, 1, 64).requires_grad_(),
        "rate": torch.rand(1, time, 1).requires_grad_(),
        "log_retention": (-0.1 * torch.rand(1, time, 1)).requires_grad_(),
        "read_index": index[:, read],
        "read_weight": weight[:, read].clone().requires_grad_(),
        "initial": torch.randn(1, 1, slots, 64),
        "slots": slots,
    }


def scan_forward(inputs: dict, backend: str = "auto") -> None:
    plain = {k: x.detach() if isinstance(x, Tensor) else x for k, x in inputs.items()}
    with torch.no_grad():
        scan(**plain, donate=True, backend=backend)


def scan_both(inputs: dict) -> None:
    carried = inputs | {"initial": inputs["initial"].detach()}  # the end of the last segment
    scan(**carried, donate=True)[0].sum().backward()


def layer_works(slots: int, *, batch: int = 1, time: int = 1024) -> tuple[Work, Work, list[Tensor]]:
    """A layer of D 256, H 4, V 64, A 8 with product keys, going on where it stopped.

    Returns:
        One segment forward; one forward and backward; what stays in memory between segments.
    """
    config = MemoryConfig(slots=slots, active=8, heads=4, value_width=64, addressing="product")
    layer, x = SparseMemory(256, config), torch.randn(batch, time, 256)
    nn.init.normal_(layer.output.weight, std=0.05)  # zeros, as at the start, are no typical work
    state = layer.initial_state(batch)
    for held in state.layers.values():
        held.table.normal_(std=0.1)  # takes the pages, too, that zeros leave to the first write

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
