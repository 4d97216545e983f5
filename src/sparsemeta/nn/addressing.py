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
        query, keys = self._scaled(x)
        match self.config.addressing:
            case "topk":
                index, weight = topk_address(query, keys, self.config.active)
            case "product":
                index, weight = product_address(query, keys, self.config.active)
            case "dense":
                index, weight = dense_address(query, keys)
        dtype = torch.promote_types(self.keys.dtype, torch.float32)
        return index.transpose(1, 2), weight.transpose(1, 2).to(dtype)

    def usage_loss(self, x: Tensor) -> Tensor:
        r"""How far contexts x (B, T, D) are from using the keys evenly: 0 where they do.

        $$\log S - \mathrm{entropy}(\bar p), \qquad
          \bar p = \mathrm{mean}_{b,t}\, \mathrm{softmax}(\tau \hat K \hat q(x_{bt}))$$

        A product address takes the mean of this over its two lists of $S = \sqrt N$ half-keys.

        Returns:
            Scalar, in nats, at most $\log S$; the mean over the heads.
        """
        query, keys = self._scaled(x)
        keys = keys.view(-1, *keys.shape[-3:])  # (P, H, S, K/P), a key in P parts
        query = query.unflatten(-1, (len(keys), -1)).permute(3, 1, 0, 2, 4).flatten(2, 3)
        scores = query @ keys.mT
        dtype = torch.promote_types(scores.dtype, torch.float32)
        use = scores.softmax(-1, dtype=dtype).mean(-2).clamp(min=1e-12)
        return (math.log(use.shape[-1]) - torch.special.entr(use).sum(-1)).mean()

    def _scaled(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B, H, T, K) as long as the temperature, and keys of unit length."""
        query = self.query(x).unflatten(-1, (self.config.heads, -1)).transpose(1, 2)
        query = query * (self.temperature.exp() / query.norm(dim=-1, keepdim=True).clamp(min=1e-12))
        return query, normalize(self.keys, dim=-1)
