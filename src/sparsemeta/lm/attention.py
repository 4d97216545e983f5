"""Causal attention over a sliding window of the real steps of each stream.

Rotary attention depends on distances alone, so keys are carried unrotated and positions count from
the oldest key carried: a stream of any length never runs out of them. Padding counts for no
distance and no other step attends to it, so that a stream reads the same wherever it is padded.
"""

from typing import NamedTuple

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention

from sparsemeta.lm.config import ModelConfig
from sparsemeta.ops import at_hand


class AttentionMask(NamedTuple):
    """What every step of a segment attends to; the same in all blocks. S keys: carried, then T.

    Attributes:
        rotation: cosine and sine (2, S, d / 2) of the rotary angles, or (2, B, 1, S, d / 2).
        visible: (T, S) bool, or (B, 1, T, S), which keys a step attends to; None is all.
        kept: which keys go on to the next segment; where there was padding, (B, kept) int64.
        real: (B,) int64, how many of them are real, the last ones; None where all are.
    """

    rotation: Tensor
    visible: Tensor | None
    kept: Tensor | slice
    real: Tensor | None


def attention_mask(
    config: ModelConfig,
    tokens: Tensor,
    carried: int,
    mask: Tensor | None = None,
    real: Tensor | None = None,
) -> AttentionMask:
    """What the steps of a segment (B, T) attend to, where the last one left `carried` keys.

    Real are the tokens where `mask` (B, T) is True and the last `real` (B,) keys; all if None.
    """
    total = carried + tokens.shape[1]
    kept = min(total, config.window - 1)
    index = torch.arange(total, device=tokens.device)
    width = config.width // config.heads
    if mask is None and real is None:
        distance = index[carried:, None] - index
        visible = (distance >= 0) & (distance < config.window)
        return AttentionMask(angles_of(index, width), visible, slice(total - kept, total), None)

    mask = torch.ones_like(tokens, dtype=torch.bool) if mask is None else mask
    known = mask.new_ones(len(mask), carried)
    if real is not None:
        known = index[:carried] >= carried - real[:, None]
    known = torch.cat([known, mask], dim=1)
    position = known.cumsum(1)  # in the stream without its padding
    distance = position[:, carried:, None] - position[:, None]
    visible = known[:, None] & (distance >= 0) & (distance < config.window)
    visible |= index[carried:, None] == index  # even padding attends to something: itself
    order = known.to(torch.uint8).argsort(dim=1, stable=True)
    count = known.sum(1).clamp(max=kept)
    all_real = at_hand(count) and bool((count == kept).all())
    rotation, real = angles_of(position, width), None if all_real else count
    return AttentionMask(rotation[:, :, None], visible[:, None], order[:, total - kept :], real)


class Ring(NamedTuple):
    """An attention window that is overwritten in turn, a step at a time: all (B, heads, window, d).

    Attributes:
        keys: as they are carried.
        turned: the same, rotated by where in the stream they stand.
        values: beside them.
    """

    keys: Tensor
    turned: Tensor
    values: Tensor


class WindowAttention(nn.Module):
    """Attention with normalised queries and keys."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(
        self, x: Tensor, window: tuple[Tensor, Tensor] | Ring | None, mask: AttentionMask
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend; returns (B, T, D) and the last window - 1 keys and values, for the next call.

        A ring is overwritten at `mask.kept`, and of its own returned.
        """
        q, k, v = rearrange(self.qkv(x), "b t (n h d) -> n b h t d", n=3, h=self.heads)
        q, k = (rms_norm(part, part.shape[-1:]).to(v.dtype) for part in (q, k))
        if isinstance(window, Ring):
            q, turned = turned_by(q, mask.rotation), turned_by(k, mask.rotation)
            for part, new in zip(window, (k, turned, v), strict=True):
                part[:, :, mask.kept] = new
            attended = scaled_dot_product_attention(
                q, window.turned, window.values, attn_mask=mask.visible
            )
            carried = (window.keys, window.values)
            return self.output(rearrange(attended, "b h t d -> b t (h d)")), carried
        if window is not None:
            pairs = zip(window, (k, v), strict=True)
            k, v = (torch.cat([old.to(new.dtype), new], 2) for old, new in pairs)
        q, keys = turned_by(q, mask.rotation[..., -q.shape[2] :, :]), turned_by(k, mask.rotation)
        attended = scaled_dot_product_attention(q, keys, v, attn_mask=mask.visible)
        carried = (_take(k, mask.kept), _take(v, mask.kept))
        return self.output(rearrange(attended, "b h t d -> b t (h d)")), carried


def angles_of(position: Tensor, width: int) -> Tensor:
    """Cosine and sine (2, ..., width / 2) of the rotary angles of positions (...)."""
    # float64: the same distance gives the same angle wherever in a stream it is measured.
    step = torch.arange(0, width, 2, device=position.device, dtype=torch.float64)
    angle = position[..., None] * 10_000.0 ** -(step / width)
    return torch.stack([angle.cos(), angle.sin()])


def turned_by(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the two halves of every head (B, H, T, d) by its position's angles."""
    cos, sin = rotation.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def _take(x: Tensor, kept: Tensor | slice) -> Tensor:
    """The keys or values (B, H, S, d) that are kept."""
    if isinstance(kept, slice):
        return x[:, :, kept]
    return x.gather(2, kept[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))
