"""The meta-learner: what to write, where, how strongly, and what to forget."""

import math
from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.ops import dense_address, product_address, topk_address


class Generated(NamedTuple):
    """One step's instructions to the memory, for every head.

    Attributes:
        value: (B, T, H, V), what to associate with the address.
        rate: (B, T, H) in (0, 1), how strongly.
        log_retention: (B, T, H) <= 0, what to keep of the rows written; None keeps all.
    """

    value: Tensor
    rate: Tensor
    log_retention: Tensor | None


class MetaLearner(nn.Module):
    r"""Equations (1) and (2) of the design.

    $$r_t = w_{t+1} = \mathrm{TopA}(\tau \hat K \hat q(x_t)), \qquad
      v_t, \beta_t, g_t = \mathrm{MLP}(x_{t-1}, x_t, f_t)$$

    A write is keyed by the context that made the prediction and carries what then happened. Reads
    and writes share the addressing network, so that a context met again finds its slot.

    Args:
        width: D, of the layer's input and of the feedback.
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
        self.value = nn.Linear(2 * width, heads * config.value_width, bias=False)
        self.gates = nn.Linear(3 * width, heads * (2 if config.retention else 1))
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)
        if config.retention:
            nn.init.constant_(self.gates.bias[heads:], 4.0)  # begin by keeping 98 % of a row

    @property
    def dtype(self) -> torch.dtype:
        """What the memory is kept in: float32, however coarse the activations; never coarser."""
        return torch.promote_types(self.keys.dtype, torch.float32)

    def address(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Where a context is kept.

        Args:
            x: (B, T, D).

        Returns:
            Slot indices (B, T, H, A) int64 and weights (B, T, H, A).
        """
        query = rearrange(self.query(x), "b t (h k) -> b h t k", h=self.config.heads)
        query = normalize(query, dim=-1) * self.temperature.exp()
        keys = normalize(self.keys, dim=-1).mT
        match self.config.addressing:
            case "topk":
                index, weight = topk_address(query @ keys, self.config.active)
            case "product":
                left, right = query.chunk(2, dim=-1)
                index, weight = product_address(left @ keys[0], right @ keys[1], self.config.active)
            case "dense":
                index, weight = dense_address(query @ keys)
        return index.transpose(1, 2), weight.transpose(1, 2).to(self.dtype)

    def forward(self, previous: Tensor, x: Tensor, feedback: Tensor) -> Generated:
        """Generate one step's fast weights, for a whole segment at once.

        Args:
            previous: (B, T, D), $x_{t-1}$.
            x: (B, T, D), $x_t$.
            feedback: (B, T, D), $f_t$: what the world revealed about the prediction made at t-1.

        Returns:
            Values, rates and retentions.
        """
        value = rearrange(
            self.value(torch.cat([x, feedback], dim=-1)),
            "b t (h v) -> b t h v",
            h=self.config.heads,
        )
        gates = self.gates(torch.cat([previous, x, feedback], dim=-1)).to(self.dtype)
        rate, *retention = gates.split(self.config.heads, dim=-1)
        kept = logsigmoid(retention[0]) if retention else None
        return Generated(value.to(self.dtype), torch.sigmoid(rate), kept)
