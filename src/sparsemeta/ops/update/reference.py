"""Equations (3)-(5) as a plain loop over time: the ground truth of every fast form."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from sparsemeta.ops.types import Address, Segment
from sparsemeta.ops.update.compact import take

Memory = Float[Tensor, "B H N V"]


def retain(
    memory: Memory, index: Int[Tensor, "B H A"], log_retention: Float[Tensor, "B H"]
) -> Memory:
    r"""Equation (3): $M_t[i] = e^{g_t} M_{t-1}[i]$ for the slots i of the address, each once."""
    repeated = (index[..., :, None] == index[..., None, :]).tril(-1).any(-1)
    loss = torch.expm1(log_retention)[..., None] * ~repeated
    return _add_rows(memory, index, loss[..., None] * take(memory, index))


def write(
    memory: Memory,
    address: Address,
    value: Float[Tensor, "B H V"],
    rate: Float[Tensor, "B H"],
    rule: str,
) -> Memory:
    r"""Equation (4): $M_t = M_t + w_t \otimes \beta_t (v_t - M_t^\top w_t)$.

    The hebbian rule leaves out the correction $M_t^\top w_t$.
    """
    error = value - read(memory, address) if rule == "delta" else value
    update = rate[..., None] * error
    return _add_rows(memory, address.index, address.weight[..., None] * update[..., None, :])


def read(memory: Memory, address: Address) -> Float[Tensor, "B H V"]:
    r"""Equation (5): $o_t = M_t^\top r_t$."""
    return (address.weight[..., None] * take(memory, address.index)).sum(-2)


def scan_reference(
    segment: Segment,
    memory: Memory,
    mask: Bool[Tensor, "B T"] | None,
    reset: Bool[Tensor, "B T"] | None,
    rule: str,
) -> tuple[Float[Tensor, "B T H V"], Memory]:
    """Retain, write, read, step by step; arguments and returns are those of `scan`."""
    (w, w_weight), value, rate, kept, (r, r_weight) = segment
    kept = torch.zeros_like(rate) if kept is None else kept
    mask = torch.ones_like(rate[..., 0], dtype=torch.bool) if mask is None else mask
    reset = torch.zeros_like(mask) if reset is None else reset
    reads = []
    # unbind, not indexing by t: each index would make a full-size gradient in the backward pass.
    steps = (x.unbind(1) for x in (w, w_weight, value, rate, kept, r, r_weight, mask, reset))
    for w, w_weight, v, beta, g, r, r_weight, real, fresh in zip(*steps, strict=True):
        memory = torch.where(fresh[:, None, None, None], 0, memory)
        written = write(retain(memory, w, g), Address(w, w_weight), v, beta, rule)
        memory = torch.where(real[:, None, None, None], written, memory)
        reads.append(read(memory, Address(r, r_weight)))
    return torch.stack(reads, dim=1), memory


def _add_rows(memory: Tensor, index: Tensor, rows: Tensor) -> Tensor:
    """A new memory with rows (B, H, A, V) added at an address; a repeated slot gets their sum."""
    return memory.scatter_add(2, index[..., None].expand_as(rows), rows)
