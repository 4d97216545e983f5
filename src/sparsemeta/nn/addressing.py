"""Where a context is kept: equation (1) of the design."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.ops import ADDRESSINGS, Address, nearest, usable

FEW_CONTEXTS = 16
"""Up to this many of each stream one compiled loop is faster than torch's operations."""


class Addressing(nn.Module):
    r"""Compares a query with the keys of all slots and takes the best.

    $$\mathrm{address}(x) = \mathrm{TopA}(\tau \hat K \hat q(x))$$

    Query and keys are scaled to unit length, so that no key wins by growing; the temperature
    $\tau$ is learned; signed and dense weights have unit length whatever it is. Reads and writes
    share one `Addressing`, so that a context met again finds its slot.

    Args:
        width: D, of the context.
        config: the memory's settings.
    """

    def __init__(self, width: int, config: MemoryConfig):
        super().__init__()
        self.config, self.kind = config, ADDRESSINGS[config.addressing]
        heads, key = config.heads, config.key_width
        self.query = nn.Linear(width, heads * key, bias=False)
        self.keys = nn.Parameter(torch.randn(self.kind.keys(heads, config.slots, key)) / key**0.5)
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 10.0).log())

    def forward(self, x: Tensor) -> Address:
        """Address contexts x (B, T, D): (B, T, H, A), with weights never coarser than float32."""
        query = self._query(x)
        if self._few(query):
            keys, temperature = _parts(self.keys), self.temperature.exp().flatten()
            return nearest(query.transpose(1, 2), keys, temperature, self.config.active)
        query, keys = self._scaled(query)
        index, weight = self.kind.address(query, keys, self.config.active)
        dtype = torch.promote_types(self.keys.dtype, torch.float32)
        return Address(index.transpose(1, 2), weight.transpose(1, 2).to(dtype))

    def keep_angles(self) -> None:
        """Begin with orthogonal maps: linear keys recall best where all angles are kept."""
        for keys in (self.query.weight, *self.keys):
            nn.init.orthogonal_(keys)

    def usage_loss(self, x: Tensor) -> Tensor:
        r"""How far contexts x (B, T, D) are from using the keys evenly: 0 where they do.

        $$\log S - \mathrm{entropy}(\bar p), \qquad
          \bar p = \mathrm{mean}_{b,t}\, \mathrm{softmax}(\tau \hat K \hat q(x_{bt}))$$

        A product address takes the mean of this over its two lists of $S = \sqrt N$ half-keys.

        Returns:
            Scalar, in nats, at most $\log S$; the mean over the heads.
        """
        query, keys = self._scaled(self._query(x))
        keys = _parts(keys)
        query = query.unflatten(-1, (len(keys), -1)).permute(3, 1, 0, 2, 4).flatten(2, 3)
        scores = query @ keys.mT
        dtype = torch.promote_types(scores.dtype, torch.float32)
        use = scores.softmax(-1, dtype=dtype).mean(-2).clamp(min=1e-12)
        return (math.log(use.shape[-1]) - torch.special.entr(use).sum(-1)).mean()

    def _query(self, x: Tensor) -> Tensor:
        """What contexts (B, T, D) are looked up by, (B, H, T, K)."""
        return self.query(x).view(*x.shape[:2], self.config.heads, -1).transpose(1, 2)

    def _few(self, query: Tensor) -> bool:
        """Whether one compiled loop serves these contexts: few, and wanted without a gradient."""
        sources = (query, self.keys, self.temperature)
        training = torch.is_grad_enabled() and any(x.requires_grad for x in sources)
        few = query.shape[2] <= FEW_CONTEXTS and self.kind.softmax
        return few and not training and usable(query)

    def _scaled(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Queries as long as the temperature, and keys of unit length: their products score."""
        length = query.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        return query * (self.temperature.exp() / length), normalize(self.keys, dim=-1)


def _parts(keys: Tensor) -> Tensor:
    """Keys as (P, H, S, K/P): P lists of S keys, or half-keys, for a head."""
    return keys.view(-1, *keys.shape[-3:])
