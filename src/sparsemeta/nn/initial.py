"""What a memory recalls before anything is written: learned, and never changed by a write."""

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag

from sparsemeta.config import MemoryConfig
from sparsemeta.ops import ADDRESSINGS, Address


class InitialMemory(nn.Module):
    r"""A learned initial table $I$ of the memory $M = I + \Delta$, where $\Delta$ is the state.

    $$I^\top w = \sum_{i \in w} w_i I_i, \qquad I_{iS + j} = L_i + R_j$$

    The second equation is for product keys: a table of N rows has $2 \sqrt N$ rows of its own. So
    the state begins at zero as without it, holds what was written and nothing else, and forgetting
    leads back to $I$.

    Args:
        config: the memory's settings.
    """

    def __init__(self, config: MemoryConfig):
        super().__init__()
        parts = ADDRESSINGS[config.addressing].parts
        side = round(config.slots ** (1 / parts))
        self.table = nn.Parameter(torch.zeros(parts, config.heads, side, config.value_width))

    def forward(self, address: Address) -> Tensor:
        """Recall by an address (B, T, H, A), in slots: (B, T, H, V)."""
        index, weight = address
        parts, heads, side, width = self.table.shape
        head = torch.arange(heads, device=index.device)[:, None]
        rows = [
            (part * heads + head) * side + index // side ** (parts - 1 - part) % side
            for part in range(parts)
        ]
        bags = torch.cat(rows, dim=-1).flatten(0, 2)
        weights = weight.to(self.table.dtype).repeat(1, 1, 1, parts).flatten(0, 2)
        recalled = embedding_bag(
            bags, self.table.view(-1, width), per_sample_weights=weights, mode="sum"
        )
        return recalled.view(*index.shape[:3], width).to(weight.dtype)
