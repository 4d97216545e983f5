"""The meta-learner: what to write, how strongly, and what to forget: equation (2) of the design."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import require


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

    Args:
        width: D, of the layer's input and of the feedback.
        config: the memory's settings.
        rate: write strength at the start, in (0, 1): high where a meaning changes at once and the
            last lesson counts, low where many lessons are to be averaged.

    Raises:
        ConfigError: the rate is outside (0, 1).
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
        """Generate the fast weights of a whole segment at once.

        Args:
            previous: (B, T, D), $x_{t-1}$.
            x: (B, T, D), $x_t$.
            feedback: (B, T, D), $f_t$: what the world revealed about the prediction made at t-1.

        Returns:
            Values, rates and retentions, never coarser than float32.
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
