"""The adaptive language model: a sliding-window decoder with memory in its blocks and at its end.

    tokens -> embedding -> [attention -> memory -> MLP] x layers -> norm -> logits
                                                            + row memory -> mixed with table memory

The feedback of a language model is the observed token: its embedding is what memories are told.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, rms_norm, silu
from torch.utils.checkpoint import checkpoint

from sparsemeta.fast_weights import FastWeights
from sparsemeta.lm.attention import AttentionMask, Ring, WindowAttention, attention_mask
from sparsemeta.lm.config import ModelConfig
from sparsemeta.lm.negatives import Negatives
from sparsemeta.lm.state import LMState
from sparsemeta.nn import AdaptiveLayer, RowMemory, SparseMemory, TableMemory
from sparsemeta.ops import fine, log_p

ROWS, TABLES = "rows", "tables"
"""What these memories are called in a state; those of blocks have their numbers."""


class LanguageModel(nn.Module):
    """A decoder language model whose memories keep learning while it reads.

    Args:
        config: the model's settings.
        vocab_size: how many tokens there are (V).
        dropout: the share of activations that are dropped while it is trained.

    Attributes:
        recompute: keep no activations of the blocks for the backward pass but compute them again,
            which saves memory and changes no gradient.
        has_memory: whether it remembers, in any block or where it predicts.
        context: what it looks back on besides its memory, in words.
    """

    longest: int | None = None

    def __init__(self, config: ModelConfig, vocab_size: int, dropout: float = 0.0):
        super().__init__()
        self.recompute, self.has_memory = False, config.has_memory
        self.context = f"attention: last {config.window} tokens, across texts"
        self.config, self.vocab_size = config, vocab_size
        self.embedding = nn.Embedding(vocab_size, config.width)
        self.dropout = nn.Dropout(dropout)
        memories = (i in config.memory_layers for i in range(config.layers))
        self.blocks = nn.ModuleList(Block(config, dropout, memory=held) for held in memories)
        self.head = nn.Linear(config.width, vocab_size, bias=config.bias)
        self.head.weight = self.embedding.weight
        nn.init.normal_(self.embedding.weight, std=config.width**-0.5)
        if config.bias:
            nn.init.zeros_(self.head.bias)
        size, output = (config.width, vocab_size), config.output
        self.rows = RowMemory(*size, config.rows) if ROWS in output else None
        self.tables = TableMemory(*size, config.tables) if TABLES in output else None

    def forward(
        self, tokens: Tensor, state: LMState | None = None, **options: Any
    ) -> tuple[Tensor, LMState]:
        """Predict, at each step, the token that follows: `predict` without the hidden states."""
        predicted, _, state = self.predict(tokens, state, **options)
        return predicted, state

    def predict(
        self,
        tokens: Tensor,
        state: LMState | None = None,
        *,
        targets: Tensor | None = None,
        negatives: Negatives | None = None,
        steps: int = 0,
        mask: Tensor | None = None,
        reset: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[Tensor, Tensor, LMState]:
        """Read tokens, and predict at each step the one that follows.

        Args:
            tokens: (B, T) int64.
            state: what the last segment returned; None starts with empty memory and window.
            targets: (B, T) int64, what follows each token, where its probability is all that is
                wanted: that is cheaper than a whole distribution.
            negatives: with targets, the other tokens that log p is estimated from, in training and
                where nothing is remembered of what is predicted; None takes all, and is exact.
            steps: without targets, for how many of the last steps one is wanted; 0 is all.
            mask: (B, T) bool, True where the token is real; others are neither written to the
                memory nor attended to, as if they were not there.
            reset: (B, T) bool, True empties the memory (not the attention window) before that step.
            donate: allow the state passed in to be overwritten, which saves copying its tables.

        Returns:
            log p of the targets (B, T) float32, or logits (B, steps, vocab_size), of which a
            softmax is the prediction; both functions of tokens up to t alone, unspecified at masked
            steps. The hidden states (B, T, D) that they were made from. The state after.
        """
        hidden, observed, read = self._decode(tokens, state, mask, reset, donate)
        if negatives is not None and targets is not None:
            return negatives.log_p(hidden, self.head, targets), hidden, read
        options: dict[str, Any] = {"mask": mask, "reset": reset, "donate": donate}
        decoded = (tokens, hidden, observed, read)
        predicted, after = self.conclude(decoded, state, targets, steps, options)
        return predicted, hidden, after

    def conclude(
        self,
        decoded: tuple[Tensor, Tensor, Tensor, LMState],
        state: LMState | None,
        targets: Tensor | None,
        steps: int,
        options: dict[str, Any],
    ) -> tuple[Tensor, LMState]:
        """Predict from what the blocks made of tokens, and remember it: the end of `predict`.

        Args:
            decoded: tokens (B, T), hidden states and embedded tokens (B, T, D), and the state of
                the blocks after them.
            state: before them.
            targets: as of `predict`; and steps.
            steps: how many are predicted.
            options: mask, reset and donate.
        """
        tokens, hidden, observed, read = decoded
        given, made, pending = state and state.memory, {}, None
        mixes = self.tables is not None and self.tables.enabled
        some = slice(0 if mixes or targets is not None else -steps, None)
        logits = self.head(hidden[:, some])
        if self.rows is not None:
            held = given and given.child(ROWS)
            scores, made[ROWS] = self.rows(hidden, tokens, held, feedback=observed, **options)
            logits = scores.at(some).add_to(fine(logits))
        if self.tables is not None:
            made[TABLES] = given.child(TABLES) if given else self.tables.initial_state(len(tokens))
        if self.tables is not None and mixes:
            before, shown = (made[TABLES], state and state.pending), (hidden, tokens, fine(logits))
            options |= {"targets": targets, "steps": steps}
            predicted, made[TABLES], pending = self.tables(*shown, *before, **options)
        else:
            predicted = logits if targets is None else log_p(logits, targets)
        memory = FastWeights({**read.memory.layers, **FastWeights.join(made).layers})
        return predicted, LMState(memory, read.window, read.real, pending)

    def _decode(
        self,
        tokens: Tensor,
        state: LMState | None,
        mask: Tensor | None,
        reset: Tensor | None,
        donate: bool,
    ) -> tuple[Tensor, Tensor, LMState]:
        """Hidden states and embedded tokens, each (B, T, D), and the state of the blocks after."""
        observed = rms_norm(self.embedding(tokens), (self.config.width,))
        window = state.window if state else ()
        carried = window[0][0].shape[2] if window else 0
        attended = attention_mask(self.config, tokens, carried, mask, state.real if state else None)
        # From the same state once more: it must stay as it is.
        again = partial(checkpoint, use_reentrant=False, preserve_rng_state=self.dropout.p > 0)
        recompute = self.recompute and torch.is_grad_enabled()
        x, memory, windows = self.dropout(observed), {}, []
        for i, block in enumerate(self.blocks):
            held = state.memory.child(str(i)) if state and block.memory else None
            inputs = (x, observed, held, window[i] if window else None, attended, mask, reset)
            x, held, kept = again(block, *inputs) if recompute else block(*inputs, donate)
            windows.append(kept)
            if held is not None:
                memory[str(i)] = held
        after = LMState(FastWeights.join(memory), tuple(windows), attended.real)
        return self.dropout(rms_norm(x, (self.config.width,))), observed, after

    def read(
        self, tokens: Tensor, state: LMState | None, *, empty: bool = False, **options: Any
    ) -> tuple[Tensor, Tensor, LMState]:
        """Read tokens (T,) of one stream; arguments and result as of `reading.Model.read`."""
        first = torch.arange(len(tokens), device=tokens.device) == 0
        targets = options.pop("targets", None)
        options |= {"targets": targets if targets is None else targets[None]}
        options |= {"reset": first[None] if empty else None}
        predicted, hidden, after = self.predict(tokens[None], state, **options)
        return predicted[0], hidden[0], after

    def begin(self, memory: FastWeights) -> LMState:
        """The state in which a text begins: a memory and an empty attention window."""
        width, device = self.config.width // self.config.heads, self.embedding.weight.device
        nothing = torch.zeros(1, self.config.heads, 0, width, device=device)
        return LMState(memory.to(device), ((nothing, nothing),) * self.config.layers)

    def memories(self) -> Iterator[tuple[str, AdaptiveLayer]]:
        """Its memories, and what each is called in a state."""
        own = {ROWS: self.rows, TABLES: self.tables}
        every = {**{str(i): block.memory for i, block in enumerate(self.blocks)}, **own}
        return ((name, layer) for name, layer in every.items() if layer is not None)

    def nbytes(self, state: LMState) -> int:
        """Size of what reading on needs of a state, in bytes: no memory that is off."""
        off = [name for name, layer in self.memories() if not layer.enabled]
        return state.nbytes - sum(state.memory.child(name).nbytes for name in off)


class Block(nn.Module):
    """Attention, memory if it carries one, and MLP, each added to the residual stream."""

    def __init__(self, config: ModelConfig, dropout: float = 0.0, *, memory: bool):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.attention = WindowAttention(config)
        self.memory = SparseMemory(config.width, config.memory) if memory else None
        self.mlp = MLP(config)
        self.norms = nn.ModuleList(nn.RMSNorm(config.width) for _ in range(3 if memory else 2))

    def forward(
        self,
        x: Tensor,
        observed: Tensor,
        held: FastWeights | None,
        window: tuple[Tensor, Tensor] | Ring | None,
        attention_mask: AttentionMask,
        mask: Tensor | None,
        reset: Tensor | None,
        donate: bool = False,
    ) -> tuple[Tensor, FastWeights | None, tuple[Tensor, Tensor]]:
        """One block over a segment: x (B, T, D), with the observed tokens (B, T, D) as feedback."""
        attended, kept = self.attention(self.norms[0](x), window, attention_mask)
        x = x + self.dropout(attended)
        if self.memory is not None:
            y, held = self.memory(
                self.norms[2](x), held, feedback=observed, mask=mask, reset=reset, donate=donate
            )
            x = x + y
        return x + self.dropout(self.mlp(self.norms[1](x))), held, kept


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
