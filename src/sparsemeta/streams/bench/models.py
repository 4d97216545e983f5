"""The learned models of a benchmark: one network, with a memory of each kind in its middle."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Literal, cast

from torch import Tensor, nn

from sparsemeta.config import MemoryConfig
from sparsemeta.nn import LessonLearner, SparseMemory, StreamLearner
from sparsemeta.streams.controls import (
    DenseCode,
    LSTMMemory,
    centred_relu,
    sign,
    soft_threshold,
)

DENSE_CODES: dict[str, Callable[[Tensor], Tensor]] = {
    "sign": sign,
    "centred-relu": centred_relu,
    "soft-threshold": soft_threshold,
}

CONFIDENCE = 0.1
"""Of what is recalled at the start: with more, the likeliest label would be held for certain."""


@dataclass(frozen=True)
class Form:
    """What a learned model remembers with."""

    memory: MemoryConfig
    code: str = ""
    """One of `DENSE_CODES`, for keys that are not those of the library."""
    lstm: int = 0
    """Width of an LSTM's state, in place of a memory."""

    def __str__(self) -> str:
        if self.lstm:
            return f"LSTM of width {self.lstm}"
        memory = self.memory
        what = "" if memory.addressing == "dense" else f", {memory.active} written"
        what += ", signed" if memory.addressing == "signed" else ""
        rule = ", additive" if memory.rule == "hebbian" else ""
        return f"{memory.heads} x {memory.slots:,} slots{what}{rule}"


@dataclass(frozen=True)
class Network:
    """What is around the memory, the same for all forms."""

    width: int
    outputs: int
    kind: Literal["labels", "values"] = "labels"
    encoder: Callable[[], nn.Module] = nn.Identity
    recalls: bool = False
    """Whether memories recall labels from the start, on a way in and out that is not trained:
    where labels are many, training on few spoils it. An LSTM has no such way."""

    def build(self, form: Form, rate: float) -> StreamLearner:
        """A new network, from torch's random state; `rate` is its write strength at the start."""
        return StreamLearner(
            self.width,
            form.memory,
            self.outputs,
            kind=self.kind,
            encoder=self.encoder(),
            memory=self._memory(form, rate),
        )

    def _memory(self, form: Form, rate: float) -> SparseMemory:
        width, config = self.width, form.memory
        if form.lstm:
            return cast(SparseMemory, LSTMMemory(width, form.lstm))  # it is called like one
        code = DenseCode(width, config, DENSE_CODES[form.code]) if form.code else None
        memory = SparseMemory(width, config, code, LessonLearner(width, config, rate))
        if self.recalls:
            memory.tie(CONFIDENCE)
            if config.addressing == "dense" and not code:
                memory.addressing.keep_angles()
        return memory


def forms(sparse: MemoryConfig, equal: MemoryConfig, *, linear: int, lstm: int) -> dict[str, Form]:
    """The sparse memory and its controls.

    Args:
        sparse: the memory as one would use it.
        equal: a sparse memory of the width of the dense controls, whose parameters are as many.
        linear: width of the linear dense key.
        lstm: width of the LSTM.
    """
    dense = replace(equal, addressing="dense", active=1)
    return {
        "sparse": Form(sparse),
        **({} if equal == sparse else {"sparse-equal": Form(equal)}),
        "linear": Form(replace(dense, slots=linear)),
        **{code: Form(dense, code=code) for code in DENSE_CODES},
        "additive": Form(replace(sparse, rule="hebbian")),
        "lstm": Form(replace(dense, slots=1), lstm=lstm),
    }


def held(model: StreamLearner, strength: float) -> StreamLearner:
    """A copy that writes with one strength in (0, 1] at every step, whatever it learned."""
    model = deepcopy(model)
    assert isinstance(model.memory, SparseMemory)
    model.memory.meta_learner.hold(strength)
    return model


class Among(nn.Module):
    """A learner that is told that there are only so many labels, or values so wide."""

    def __init__(self, learner: nn.Module, outputs: int):
        super().__init__()
        self.learner, self.outputs = learner, outputs

    def forward(self, *stream: Tensor) -> tuple[Tensor, object]:
        """Called like the learner."""
        predicted, state = self.learner(*stream)
        return predicted[..., : self.outputs], state
