"""Where a context is kept: equation (1) of the design."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.ops import dense_address, product_address, topk_address


class Addressing(nn.Module):
    r"""Compares a query with the keys of all slots and takes the best.

    $$\mathrm{address}(x) = \mathrm{TopA}(\tau \hat K \hat q(x))$$

    Query and keys are scaled to unit length, so that no key wins by growing; the temperature
    $\tau$ is learned. Reads and writes share one `Addressing`, so that a context met again finds
    its slot.

    Args:
        width: D, of the context.
        config: the memory's settings.
    """

    def __init__(self, width: int, config: MemoryConfig):
        super().__init__()
        self.config = config
        heads, key = config.heads, config.key_width
        self.query = nn.Linear(width, heads * key, bias=False)
        if config.addressing == "product":
            shape = (2, heads, math.isqrt(config.slots), key // 2)
        else:
            shape = (heads, config.slots, key)
        self.keys = nn.Parameter(torch.randn(shape) / key**0.5)
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 10.0).log())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Address contexts x (B, T, D).

        Returns:
            Slot indices (B, T, H, A) int64 and weights (B, T, H, A), never coarser than float32.
        """
        query = self.query(x).unflatten(-1, (self.config.heads, -1)).transpose(1, 2)
        query = query * (self.temperature.exp() / query.norm(dim=-1, keepdim=True).clamp(min=1e-12))
        keys = normalize(self.keys, dim=-1)
        match self.config.addressing:
            case "topk":
                index, weight = topk_address(query, keys, self.config.active)
            case "product":
                index, weight = product_address(query, keys, self.config.active)
            case "dense":
                index, weight = dense_address(query, keys)
        dtype = torch.promote_types(self.keys.dtype, torch.float32)
        return index.transpose(1, 2), weight.transpose(1, 2).to(dtype)
