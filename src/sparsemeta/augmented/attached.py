"""What is added to modules of a network: their memories, and what these have in common."""

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm
from torch.utils.hooks import RemovableHandle

from sparsemeta.augmented.passes import Pass
from sparsemeta.config import MemoryConfig, RowsConfig, Settings, TablesConfig
from sparsemeta.errors import StateError, require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import AdaptiveLayer, RowMemory, SparseMemory, TableMemory

CHILD = "fast_memory"
"""What the memory of a module is called in it."""
OUTPUT = "/output"
"""What the memory where tokens are predicted is called in a state."""
ROWS, TABLES = "rows", "tables"


@dataclass(frozen=True)
class AugmentConfig(Settings, section="augment"):
    """How a network was augmented: what an adapter has to know to do the same again."""

    targets: tuple[str, ...]
    """Names of the modules that have a hidden memory."""
    memory: MemoryConfig
    """Of each hidden memory."""
    rows: RowsConfig | None = None
    """Of the row memory where tokens are predicted, if there is one."""
    tables: TablesConfig | None = None
    """Of the table memory where tokens are predicted, if there is one."""
    feedback: int | None = None
    """Width of what is revealed; None is that of each module."""


class Forward(Protocol):
    """What a network is called by, and how that ends."""

    def remove(self) -> None:
        """Let it be called as before."""


@dataclass(eq=False)
class Augmentation:
    """What an augmented network and its memories share: it stands for the network.

    Attributes:
        config: how it was augmented.
        memories: what was added, by name in a state; each is a child of its module.
        homes: those modules.
        handles: of all hooks.
        forward: what the network is called by.
        frozen: the names of its parameters that required gradients before, and do not now.
    """

    config: AugmentConfig
    memories: "dict[str, HiddenMemory | OutputMemory]" = field(default_factory=dict)
    homes: dict[str, nn.Module] = field(default_factory=dict)
    handles: list[RemovableHandle] = field(default_factory=list)
    forward: "Forward | None" = None
    frozen: list[str] = field(default_factory=list)

    @property
    def named_layers(self) -> dict[str, AdaptiveLayer]:
        """All that has a state, by its name there."""
        parts = self.memories.items()
        return {f"{key}{name}": layer for key, m in parts for name, layer in m.layers.items()}

    def state(self, made: dict[str, FastWeights], before: FastWeights | None) -> FastWeights:
        """All memories after a pass; those that were not reached are as before, or empty."""
        batch = next(iter(made.values())).batch
        parts = dict(made)
        for name, layer in self.named_layers.items():
            if name not in parts:
                held = before.child(name) if before else None
                parts[name] = held or layer.initial_state(batch)
        return FastWeights.join(parts)

    def own(self, memory: FastWeights) -> FastWeights:
        """A state of this network, each part of it where its memory is.

        Raises:
            StateError: it is another network's.
        """
        every = self.named_layers
        parts = {name: memory.child(name) for name in every}
        if not all(p.layers for p in parts.values()) or len(memory.layers) != len(every):
            raise StateError(
                f"the memory is of {', '.join(sorted(memory.layers))} but this model has memories "
                f"{', '.join(every)}. Pass what this model returned, or None to start empty."
            )
        places = {name: next(layer.parameters()).device for name, layer in every.items()}
        return FastWeights.join({name: part.to(places[name]) for name, part in parts.items()})


class HiddenMemory(nn.Module):
    r"""What is added to what a module hands out: $y = h + \mathrm{memory}(\mathrm{norm}(h))$.

    Args:
        width: D of h.
        config: the memory's settings.
        feedback: F, the width of what is revealed, if it is not D.
    """

    def __init__(self, width: int, config: MemoryConfig, feedback: int | None):
        super().__init__()
        self.norm = nn.RMSNorm(width)
        self.feedback = nn.Linear(feedback or width, width, bias=False) if feedback else None
        self.memory = SparseMemory(width, config)

    @property
    def layers(self) -> dict[str, AdaptiveLayer]:
        """What has a state, by name."""
        return {"": self.memory}

    def forward(self, h: Tensor, key: str, now: Pass) -> Tensor:
        """What is to be added to h (B, T, D), writing as the pass says."""
        width, dtype = self.memory.width, self.norm.weight.dtype
        require(
            h.shape[-1] == width,
            f"{key} hands out a width of {h.shape[-1]}, where {width} was expected. Name a module "
            "inside it that says how wide it is, such as a Linear",
        )
        feedback = None if now.feedback is None else now.feedback.to(dtype)
        if feedback is not None and self.feedback is not None:
            feedback = self.feedback(feedback)
        require(
            feedback is None or feedback.shape[-1] == width,
            f"feedback is {0 if feedback is None else feedback.shape[-1]} wide and {key} {width}: "
            "say how wide it is when you augment, as feedback=WIDTH",
        )
        options = now.options(h)
        x = self.norm(h.to(dtype))
        y, now.made[key] = self.memory(x, now.held(key), feedback=feedback, **options)
        return y


class OutputMemory(nn.Module):
    """Rows and tables where tokens are predicted: what they make of a model's logits."""

    def __init__(
        self, width: int, classes: int, rows: RowsConfig | None, tables: TablesConfig | None
    ):
        super().__init__()
        self.rows = RowMemory(width, classes, rows) if rows else None
        self.tables = TableMemory(width, classes, tables) if tables else None

    @property
    def layers(self) -> dict[str, AdaptiveLayer]:
        """What has a state, by name."""
        every = {ROWS: self.rows, TABLES: self.tables}
        return {f"/{name}": layer for name, layer in every.items() if layer is not None}

    def forward(self, logits: Tensor, head: nn.Module, now: Pass) -> Tensor:
        """Logits (B, S, V) of the steps that a pass keeps, with what is remembered.

        They may be overwritten. Where log p of targets is all that is wanted, the pass is told it
        once tables are mixed in, and the logits are those without.
        """
        hidden, tokens, kept = now.hidden, now.tokens, now.kept
        assert hidden is not None
        assert tokens is not None
        options, dtype = now.options(tokens), logits.dtype
        mixes = self.tables is not None and self.tables.enabled
        if mixes and logits.shape[1] < tokens.shape[1]:
            logits, kept = _whole(logits, head, hidden, kept), slice(None)
        logits = logits.to(torch.promote_types(dtype, torch.float32))
        weights = next(self.parameters()).dtype
        hidden = rms_norm(hidden.to(weights), hidden.shape[-1:])
        if self.rows is not None and self.rows.enabled:
            key, told = f"{OUTPUT}/{ROWS}", {"feedback": now.feedback, **options}
            scores, now.made[key] = self.rows(hidden, tokens, now.held(key), **told)
            logits = scores.at(kept).add_to(logits)
        if self.tables is not None and mixes:
            key = f"{OUTPUT}/{TABLES}"
            before = now.held(key), now.before and now.before.pending
            last = -(now.kept.start or 0) if isinstance(now.kept, slice) else 0
            log_q, now.made[key], now.pending = self.tables(
                hidden, tokens, logits, *before, targets=now.targets, steps=last, **options
            )
            if now.targets is not None:
                now.log_p = log_q
                return logits.to(dtype)
            logits, log_q = logits[:, now.kept], log_q if last else log_q[:, now.kept]
            # Where nothing is known, log q is log p to the last bit, and the logits stay.
            logits = logits + (log_q - logits.log_softmax(-1))
        return logits.to(dtype)


def _whole(logits: Tensor, head: nn.Module, hidden: Tensor, kept: slice | Tensor) -> Tensor:
    """Logits of all steps; of those that are kept, they are as the model made them."""
    every = head.forward(hidden).clone()
    every[:, kept] = logits
    return every
