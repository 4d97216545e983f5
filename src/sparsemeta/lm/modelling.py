"""The adaptive language model: a sliding-window decoder with sparse memory in the blocks you name.

    tokens -> embedding -> [attention -> memory -> MLP] x layers -> norm -> logits

The feedback of a language model is the token that came: its embedding is what the memory is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import relu, rms_norm, scaled_dot_product_attention, silu

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.config import ModelConfig
from sparsemeta.nn import SparseMemory


@dataclass(frozen=True)
class LMState:
    """All that a language model carries from one segment to the next.

    Attributes:
        memory: the fast weights of all memory blocks; what adapts, and what is worth saving.
        window: per block, the last keys and values (B, heads, at most window - 1, width / heads).
    """

    memory: FastWeights
    window: tuple[tuple[Tensor, Tensor], ...]

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return self.memory.nbytes + sum(k.nbytes + v.nbytes for k, v in self.window)

    def detach(self) -> LMState:
        """The same values, cut off from the graph: the end of a truncated segment."""
        return LMState(
            self.memory.detach(), tuple((k.detach(), v.detach()) for k, v in self.window)
        )

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as `from_tensors` takes them."""
        found = {f"memory.{name}": tensor for name, tensor in self.memory.tensors().items()}
        for i, (k, v) in enumerate(self.window):
            found[f"window.{i}.k"], found[f"window.{i}.v"] = k, v
        return found

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> LMState:
        """The inverse of `tensors`."""
        prefix = "memory."
        memory = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        layers = sum(name.startswith("window.") for name in tensors) // 2
        window = tuple((tensors[f"window.{i}.k"], tensors[f"window.{i}.v"]) for i in range(layers))
        return cls(FastWeights.from_tensors(memory), window)


class LanguageModel(nn.Module):
    """A decoder language model whose memory blocks keep learning while it reads.

    Args:
        config: the architecture.
        vocab_size: tokens.
    """

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.config, self.vocab_size = config, vocab_size
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.blocks = nn.ModuleList(
            Block(config, memory=i in config.memory_layers) for i in range(config.layers)
        )
        self.head = nn.Linear(config.width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)

    def forward(
        self,
        tokens: Tensor,
        state: LMState | None = None,
        *,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        overwrite: bool = False,
    ) -> tuple[Tensor, LMState]:
        """Read a segment and predict, at each step, the token that follows.

        Args:
            tokens: (B, T) int64.
            state: what the last segment returned; None starts with empty memory and window.
            mask: (B, T) bool, True where the token is real; others are not written to the memory.
            reset: (B, T) bool, True empties the memory (not the attention window) before that step.
            overwrite: allow the state passed in to be overwritten, which saves copying its tables.

        Returns:
            Logits (B, T, vocab_size), a function of tokens up to t alone, and the state after.
        """
        hidden, state = self.hidden(tokens, state, mask=mask, reset=reset, overwrite=overwrite)
        return self.head(hidden), state

    def hidden(
        self,
        tokens: Tensor,
        state: LMState | None = None,
        *,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        overwrite: bool = False,
    ) -> tuple[Tensor, LMState]:
        """What `head` turns into logits, (B, T, D), and the state after; arguments as `forward`."""
        came = rms_norm(self.embedding(tokens), (self.config.width,))
        x, memory, window = came, {}, []
        for i, block in enumerate(self.blocks):
            held = state.memory.child(str(i)) if state and block.memory else None
            seen = state.window[i] if state else None
            x, held, seen = block(x, came, held, seen, mask, reset, overwrite)
            window.append(seen)
            if held is not None:
                memory[str(i)] = held
        state = LMState(FastWeights.join(memory), tuple(window))
        return rms_norm(x, (self.config.width,)), state


class Block(nn.Module):
    """Attention, memory and MLP, each added to the residual stream.

    Args:
        config: the architecture.
        memory: whether this block carries a memory.
    """

    def __init__(self, config: ModelConfig, *, memory: bool):
        super().__init__()
        self.attention = WindowAttention(config)
        self.memory = SparseMemory(config.width, config.memory) if memory else None
        self.mlp = MLP(config)
        self.norms = nn.ModuleList(nn.RMSNorm(config.width) for _ in range(3 if memory else 2))

    def forward(
        self,
        x: Tensor,
        came: Tensor,
        held: FastWeights | None,
        seen: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        reset: Tensor | None,
        overwrite: bool,
    ) -> tuple[Tensor, FastWeights | None, tuple[Tensor, Tensor]]:
        """One block over a segment: x (B, T, D), with `came` (B, T, D) as the memory's feedback."""
        attended, window = self.attention(self.norms[0](x), seen)
        x = x + attended
        if self.memory is not None:
            y, held = self.memory(
                self.norms[2](x), held, feedback=came, mask=mask, reset=reset, overwrite=overwrite
            )
            x = x + y
        return x + self.mlp(self.norms[1](x)), held, window


class WindowAttention(nn.Module):
    """Causal attention over the last `window` tokens, with rotary positions and normalised q, k.

    Rotary attention depends on distances alone, so keys are carried unrotated and positions count
    from the oldest token carried: a stream of any length never runs out of them.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.heads, self.window = config.heads, config.window
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.output = nn.Linear(config.width, config.width, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(
        self, x: Tensor, seen: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Attend; returns (B, T, D) and the last window - 1 keys and values, for the next call."""
        q, k, v = rearrange(self.qkv(x), "b t (n h d) -> n b h t d", n=3, h=self.heads)
        q, k = (rms_norm(part, part.shape[-1:]).to(v.dtype) for part in (q, k))
        if seen is None:
            seen = (k[:, :, :0], v[:, :, :0])
        k, v = (torch.cat([old.to(v.dtype), new], 2) for old, new in zip(seen, (k, v), strict=True))
        time, total = q.shape[2], k.shape[2]
        rotation = _rotation(total, q.shape[3], q.device)
        position = torch.arange(total, device=q.device)
        distance = position[-time:, None] - position
        attended = scaled_dot_product_attention(
            _rotate(q, rotation[:, -time:]),
            _rotate(k, rotation),
            v,
            attn_mask=(distance >= 0) & (distance < self.window),
        )
        keep = min(total, self.window - 1)
        carried = (k[:, :, total - keep :], v[:, :, total - keep :])
        return self.output(rearrange(attended, "b h t d -> b t (h d)")), carried


def _rotation(length: int, width: int, device: torch.device) -> Tensor:
    """Cosine and sine (2, length, width / 2) of the rotary angles."""
    # float64: the same distance gives the same angle wherever in a stream it is measured.
    step = torch.arange(0, width, 2, device=device, dtype=torch.float64)
    angle = torch.arange(length, device=device)[:, None] * 10_000.0 ** -(step / width)
    return torch.stack([angle.cos(), angle.sin()])


def _rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate the two halves of every head (B, H, T, d) by its position's angles."""
    cos, sin = rotation.to(x.dtype)
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


class MLP(nn.Module):
    """Squared ReLU, or gated SiLU."""

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.gated = config.mlp == "swiglu"
        hidden = config.mlp_width * (2 if self.gated else 1)
        self.input = nn.Linear(config.width, hidden, bias=False)
        self.output = nn.Linear(config.mlp_width, config.width, bias=False)
        nn.init.zeros_(self.output.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Apply it at every step: (B, T, D) to (B, T, D)."""
        hidden = self.input(x)
        if self.gated:
            gate, hidden = hidden.chunk(2, dim=-1)
            return self.output(silu(gate) * hidden)
        return self.output(relu(hidden).square())
