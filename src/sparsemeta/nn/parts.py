"""What a `SparseMemory` is made of: where a context is kept, what is written, what was there.

`Addressing` is equation (1) of the design, `MetaLearner` equation (2).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, logsigmoid, normalize

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import require
from sparsemeta.ops import ADDRESSINGS, Address, nearest, usable

FEW_CONTEXTS = 16
"""Up to this many of each stream one compiled loop is faster than torch's operations."""


class Addressing(nn.Module):
    r"""Compares a query with the keys of all slots and takes the best.

    $$\mathrm{address}(x) = \mathrm{TopA}(\tau \hat K \hat q(x))$$

    Query and keys are scaled to unit length, so that no key wins by growing; the temperature
    $\tau$ is learned; signed and dense weights have unit length whatever it is. Reads and writes
    share one `Addressing`, so that a context met again finds its slot.
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
        sources = (query, self.keys, self.temperature)
        training = torch.is_grad_enabled() and any(source.requires_grad for source in sources)
        few = query.shape[2] <= FEW_CONTEXTS and self.kind.softmax
        if few and not training and usable(query):
            temperature = self.temperature.exp().flatten()
            return nearest(
                query.transpose(1, 2), _parts(self.keys), temperature, self.config.active
            )
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

        A scalar in nats, the mean over the heads; of a product address also over its two lists of
        $S = \sqrt N$ half-keys.
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

    def _scaled(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Queries as long as the temperature, and keys of unit length: their products score."""
        length = query.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        return query * (self.temperature.exp() / length), normalize(self.keys, dim=-1)


def _parts(keys: Tensor) -> Tensor:
    """Keys as (P, H, S, K/P): P lists of S keys, or half-keys, for a head."""
    return keys.view(-1, *keys.shape[-3:])


class Generated(NamedTuple):
    """What the steps of a segment write, for every head: the middle of a `Segment`.

    Attributes:
        value: (B, T, H, V), what to associate with the address.
        rate: (B, T, H) in [0, 1], how strongly.
        log_retention: (B, T, H) <= 0, what to keep of the rows written; None keeps all.
    """

    value: Tensor
    rate: Tensor
    log_retention: Tensor | None


class MetaLearner(nn.Module):
    r"""Generates fast weights from a step, the step before it, and what was revealed between them.

    $$v_t = W_v [x_t, f_t], \qquad \beta_t, g_t = \sigma, \log\sigma (W_g [x_{t-1}, x_t, f_t])$$

    The rate is the write strength at the start, in (0, 1): high where a meaning changes at once and
    the last lesson counts, low where many lessons are to be averaged.
    """

    def __init__(self, width: int, config: MemoryConfig, rate: float = 0.5):
        super().__init__()
        require(0 < rate < 1, f"rate = {rate} must lie between 0 and 1, and be neither")
        self.width, self.heads = width, config.heads
        self.value = nn.Linear(2 * width, config.heads * config.value_width, bias=False)
        self.gates = nn.Linear(3 * width, config.heads * (2 if config.retention else 1))
        nn.init.constant_(self.gates.bias, 4.0)  # begin by keeping 98 %, where it may forget
        nn.init.zeros_(self.gates.weight)
        self.hold(rate)

    def forward(self, previous: Tensor, x: Tensor, feedback: Tensor) -> Generated:
        """Generate the fast weights of a whole segment at once, never coarser than float32.

        From $x_{t-1}$, $x_t$ and $f_t$, what the world revealed about the prediction made at t-1,
        each (B, T, D).
        """
        dtype = torch.promote_types(self.value.weight.dtype, torch.float32)
        seen = torch.cat([previous, x, feedback], dim=-1)
        value = self.value(seen[..., x.shape[-1] :]).view(*x.shape[:2], self.heads, -1)
        gates = self.gates(seen).to(dtype)
        rate = torch.sigmoid(gates[..., : self.heads])
        kept = logsigmoid(gates[..., self.heads :]) if gates.shape[-1] > self.heads else None
        return Generated(value.to(dtype), rate, kept)

    def hold(self, rate: float) -> None:
        """Write with one strength in (0, 1] at every step, until training changes it."""
        with torch.no_grad():
            self.gates.weight[: self.heads] = 0
            self.gates.bias[: self.heads] = torch.tensor(rate, dtype=torch.float64).logit(eps=1e-6)

    def embed(self, way: Tensor) -> None:
        """Let feedback become a value by a fixed map (H * V, D), which is not trained."""
        with torch.no_grad():
            self.value.weight[:, -self.width :] = way
        self.value.requires_grad_(False)


class InitialMemory(nn.Module):
    r"""A learned initial table $I$ of the memory $M = I + \Delta$, where $\Delta$ is the state.

    $$I^\top w = \sum_{i \in w} w_i I_i, \qquad I_{iS + j} = L_i + R_j$$

    The second equation is for product keys: a table of N rows has $2 \sqrt N$ rows of its own. So
    the state begins at zero as without it, holds what was written and nothing else, and forgetting
    leads back to $I$.
    """

    def __init__(self, config: MemoryConfig):
        super().__init__()
        kind, heads = ADDRESSINGS[config.addressing], config.heads
        side = kind.keys(heads, config.slots, config.key_width)[-2]
        self.table = nn.Parameter(torch.zeros(kind.parts, heads, side, config.value_width))

    def forward(self, address: Address) -> Tensor:
        """Recall by an address (B, T, H, A), in slots: (B, T, H, V)."""
        index, weight = address
        parts, heads, side, width = self.table.shape
        head = torch.arange(heads, device=index.device)[:, None]
        rows = [
            (part * heads + head) * side + index // side ** (parts - 1 - part) % side
            for part in range(parts)
        ]
        recalled = embedding_bag(
            torch.cat(rows, dim=-1).flatten(0, 2),
            self.table.view(-1, width),
            per_sample_weights=weight.to(self.table.dtype).repeat(1, 1, 1, parts).flatten(0, 2),
            mode="sum",
        )
        return recalled.view(*index.shape[:3], width).to(weight.dtype)
