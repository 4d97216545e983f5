"""The adaptive language model: a sliding-window decoder with sparse memory in the blocks you name.

    tokens -> embedding -> [attention -> memory -> MLP] x layers -> norm -> logits

The feedback of a language model is the observed token: its embedding is what the memory is told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, rms_norm, silu
from torch.utils.checkpoint import checkpoint

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.attention import AttentionMask, WindowAttention, attention_mask
from sparsemeta.lm.config import ModelConfig
from sparsemeta.nn import SparseMemory


@dataclass(frozen=True)
class LMState:
    """All that a language model carries from one segment to the next.

    Attributes:
        memory: the fast weights of all memory blocks; what adapts, and what is worth saving.
        window: per block, the last keys and values (B, heads, at most window - 1, width / heads);
            nothing at all is an empty window.
        real: (B,) int64, how many keys of the window are real, the last ones; None where all are.
    """

    memory: FastWeights
    window: tuple[tuple[Tensor, Tensor], ...] = ()
    real: Tensor | None = None

    @property
    def batch(self) -> int:
        """How many streams it holds (B)."""
        return len(next(iter(self.tensors().values())))

    @property
    def nbytes(self) -> int:
        """Size in memory, in bytes."""
        return sum(tensor.nbytes for tensor in self.tensors().values())

    def detach(self) -> Self:
        """The same values, cut off from the graph: the end of a truncated segment."""
        return self._map(Tensor.detach)

    def clone(self) -> Self:
        """A copy that shares no storage."""
        return self._map(Tensor.clone)

    def select(self, rows: Tensor | list[int] | slice) -> Self:
        """Some of the streams, some perhaps more than once: indices or a boolean mask over B."""
        return self._map(lambda tensor: tensor[rows])

    def tensors(self) -> dict[str, Tensor]:
        """All tensors by name, as `from_tensors` takes them."""
        found = {f"memory.{name}": tensor for name, tensor in self.memory.tensors().items()}
        for i, (k, v) in enumerate(self.window):
            found[f"window.{i}.k"], found[f"window.{i}.v"] = k, v
        return found if self.real is None else {**found, "real": self.real}

    @classmethod
    def concat(cls, parts: Sequence[Self]) -> Self:
        """The streams of several states side by side, none of which has padding."""
        layers = zip(*(part.window for part in parts), strict=True)
        window = tuple((torch.cat([k for k, _ in r]), torch.cat([v for _, v in r])) for r in layers)
        return cls(FastWeights.concat([part.memory for part in parts]), window)

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """The inverse of `tensors`."""
        prefix = "memory."
        memory = {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
        layers = sum(name.startswith("window.") for name in tensors) // 2
        window = tuple((tensors[f"window.{i}.k"], tensors[f"window.{i}.v"]) for i in range(layers))
        return cls(FastWeights.from_tensors(memory), window, tensors.get("real"))

    def _map(self, change: Callable[[Tensor], Tensor]) -> Self:
        return self.from_tensors({k: change(t) for k, t in self.tensors().items()})


class LanguageModel(nn.Module):
    """A decoder language model whose memory blocks keep learning while it reads.

    Attributes:
        recompute: keep no activations of the blocks for the backward pass but compute them again,
            which saves memory and changes no gradient.
        has_memory: whether any block has a memory.
        context: what it looks back on besides its memory, in words.
    """

    longest: int | None = None

    def __init__(self, config: ModelConfig, vocab_size: int):
        super().__init__()
        self.recompute, self.has_memory = False, bool(config.memory_layers)
        self.context = f"attention: last {config.window} tokens, across texts"
        self.config, self.vocab_size = config, vocab_size
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.blocks = nn.ModuleList(
            Block(config, memory=i in config.memory_layers) for i in range(config.layers)
        )
        self.head = nn.Linear(config.width, vocab_size, bias=False)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)

    def forward(
        self, tokens: Tensor, state: LMState | None = None, **options: Any
    ) -> tuple[Tensor, LMState]:
        """Predict, at each step, the token that follows; arguments as `hidden`.

        Returns logits (B, T, vocab_size), a function of tokens up to t alone, unspecified at masked
        steps, and the state after.
        """
        hidden, state = self.hidden(tokens, state, **options)
        return self.head(hidden), state

    def hidden(
        self,
        tokens: Tensor,
        state: LMState | None = None,
        *,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[Tensor, LMState]:
        """What `head` turns into logits, (B, T, D), and the state after.

        Args:
            tokens: (B, T) int64.
            state: what the last segment returned; None starts with empty memory and window.
            mask: (B, T) bool, True where the token is real; others are neither written to the
                memory nor attended to, as if they were not there.
            reset: (B, T) bool, True empties the memory (not the attention window) before that step.
            donate: allow the state passed in to be overwritten, which saves copying its tables.
        """
        observed = rms_norm(self.embedding(tokens), (self.config.width,))
        window = state.window if state else ()
        carried = window[0][0].shape[2] if window else 0
        attended = attention_mask(self.config, tokens, carried, mask, state.real if state else None)
        # From the same state once more: it must stay as it is.
        again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
        recompute = self.recompute and torch.is_grad_enabled()
        x, memory, windows = observed, {}, []
        for i, block in enumerate(self.blocks):
            held = state.memory.child(str(i)) if state and block.memory else None
            inputs = (x, observed, held, window[i] if window else None, attended, mask, reset)
            x, held, kept = again(block, *inputs) if recompute else block(*inputs, donate)
            windows.append(kept)
            if held is not None:
                memory[str(i)] = held
        state = LMState(FastWeights.join(memory), tuple(windows), attended.real)
        return rms_norm(x, (self.config.width,)), state

    def read(
        self, tokens: Tensor, state: LMState | None, *, empty: bool = False, donate: bool = False
    ) -> tuple[Tensor, Tensor, LMState]:
        """Read tokens (T,) of one stream; arguments and result as of `reading.Model.read`."""
        first = torch.arange(len(tokens), device=tokens.device) == 0
        reset = first[None] if empty else None
        hidden, after = self.hidden(tokens[None], state, reset=reset, donate=donate)
        return self.head(hidden)[0], hidden[0], after

    def begin(self, memory: FastWeights) -> LMState:
        """The state in which a text begins: a memory and an empty attention window."""
        width, device = self.config.width // self.config.heads, self.embedding.weight.device
        nothing = torch.zeros(1, self.config.heads, 0, width, device=device)
        return LMState(memory.to(device), ((nothing, nothing),) * self.config.layers)

    def nbytes(self, state: LMState) -> int:
        """Size of what reading on needs of a state, in bytes: no memory that is off."""
        off = not any(m.enabled for m in self.modules() if isinstance(m, SparseMemory))
        return state.nbytes - (state.memory.nbytes if off else 0)


class Block(nn.Module):
    """Attention, memory if it carries one, and MLP, each added to the residual stream."""

    def __init__(self, config: ModelConfig, *, memory: bool):
        super().__init__()
        self.attention = WindowAttention(config)
        self.memory = SparseMemory(config.width, config.memory) if memory else None
        self.mlp = MLP(config)
        self.norms = nn.ModuleList(nn.RMSNorm(config.width) for _ in range(3 if memory else 2))

    def forward(
        self,
        x: Tensor,
        observed: Tensor,
        held: FastWeights | None,
        window: tuple[Tensor, Tensor] | None,
        attention_mask: AttentionMask,
        mask: Tensor | None,
        reset: Tensor | None,
        donate: bool = False,
    ) -> tuple[Tensor, FastWeights | None, tuple[Tensor, Tensor]]:
        """One block over a segment: x (B, T, D), with the observed tokens (B, T, D) as feedback."""
        attended, kept = self.attention(self.norms[0](x), window, attention_mask)
        x = x + attended
        if self.memory is not None:
            y, held = self.memory(
                self.norms[2](x), held, feedback=observed, mask=mask, reset=reset, donate=donate
            )
            x = x + y
        return x + self.mlp(self.norms[1](x)), held, kept


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
