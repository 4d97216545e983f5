"""One forward pass of an augmented model: what its memories are told, and what they hand back.

A pass is found by the model that it belongs to, in a context variable: threads and asyncio tasks
have their own.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

import torch
from torch import Tensor, nn

from sparsemeta.errors import ConfigError
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn import Pending


class Carried(NamedTuple):
    """What goes from one pass to the next.

    Attributes:
        memory: what was learned.
        pending: what tables expect of the next token; no part of a saved memory.
    """

    memory: FastWeights
    pending: Pending | None = None

    def select(self, rows: Tensor) -> Self:
        """Some of the streams, some perhaps more than once."""
        pending = self.pending and Pending(*(x[rows.to(x.device)] for x in self.pending))
        return type(self)(self.memory.select(rows), pending)

    def clone(self) -> Self:
        """A copy that shares no storage."""
        pending = self.pending and Pending(*(x.clone() for x in self.pending))
        return type(self)(self.memory.clone(), pending)

    def detach(self) -> Self:
        """The same values, cut off from the graph."""
        pending = self.pending and Pending(*(x.detach() for x in self.pending))
        return type(self)(self.memory.detach(), pending)


class Holder(Protocol):
    """Whose memory a pass reads and writes."""

    def commit(self, after: Carried, log_p: Tensor | None) -> None:
        """Take over what a pass has left, and log p of the targets that it was given."""

    def abandon(self) -> None:
        """A pass that began has failed."""


@dataclass
class Pass:
    """What the memories of a model are told, and what they have made so far.

    Attributes:
        holder: whose memory it is.
        before: what was carried; None is nothing.
        streams: B, if it is known.
        feedback: (B, T, F), what was revealed at each step about the prediction before it.
        mask: (B, T) bool, True where a step is real.
        reset: (B, T) bool, True empties the memory before a step.
        write: whether what comes is written, or for which of the streams (B,).
        targets: (B, T) int64, what follows each token, if its log p is all that is wanted.
        donate: whether what was carried may be overwritten.
        made: the memories after the pass, of those that were reached.
        pending: what tables expect of the next token.
        tokens: (B, T) int64, those of a language model.
        hidden: (B, T, D), what its output layer reads.
        kept: the steps of which it makes logits.
        log_p: (B, T), of the targets.
    """

    holder: Holder
    before: Carried | None
    streams: int | None
    feedback: Tensor | None = None
    mask: Tensor | None = None
    reset: Tensor | None = None
    write: bool | Tensor = True
    targets: Tensor | None = None
    donate: bool = False
    made: dict[str, FastWeights] = field(default_factory=dict)
    pending: Pending | None = None
    tokens: Tensor | None = None
    hidden: Tensor | None = None
    kept: slice | Tensor = field(default_factory=lambda: slice(None))
    log_p: Tensor | None = None

    def held(self, key: str) -> FastWeights | None:
        """What one memory held before; None is nothing."""
        return None if self.before is None else self.before.memory.child(key)

    def options(self, x: Tensor) -> dict[str, Any]:
        """What every memory is told of a segment x (B, T, ...)."""
        shape = x.shape[:2]
        for name in ("feedback", "mask", "reset", "write", "targets"):
            given = getattr(self, name)
            if isinstance(given, Tensor) and given.shape[:2] != shape[: given.dim()]:
                raise ConfigError(
                    f"{name} is of shape {tuple(given.shape)}, but the model read {shape[0]} "
                    f"streams of {shape[1]} steps: give one for each"
                )
        revealed = None
        if isinstance(self.write, Tensor):
            revealed = self.write.to(x.device, torch.bool)[:, None].expand(shape)
        elif not self.write:
            revealed = torch.zeros(shape, dtype=torch.bool, device=x.device)
        told = {"mask": self.mask, "reset": self.reset, "revealed": revealed}
        return told | {"donate": self.donate}


_passes: ContextVar[Mapping[object, Pass] | None] = ContextVar("passes", default=None)


def current_pass(model: object) -> Pass | None:
    """The pass that a model is in, here; a model is named by its `Augmentation`."""
    return (_passes.get() or {}).get(model)


def begin_pass(model: object, started: Pass) -> None:
    """From here on, a model is in this pass."""
    _passes.set({**(_passes.get() or {}), model: started})


def end_pass(model: object) -> Pass | None:
    """From here on, a model is in no pass; the one that it was in."""
    running = dict(_passes.get() or {})
    ended = running.pop(model, None)
    _passes.set(running)
    return ended


def uncompiled(module: nn.Module) -> Callable[..., Any]:
    """A memory, which `torch.compile` of the network around it leaves as it is."""
    if torch.compiler.is_compiling():
        return torch._dynamo.disable(module)
    return module
