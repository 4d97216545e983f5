"""`StreamLearner`: a network that is taught step by step, by a forward pass alone."""

from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from typing_extensions import override

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import require
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn.parts import Generated, MetaLearner
from sparsemeta.nn.prototypes import PrototypeMemory
from sparsemeta.nn.sparse_memory import SparseMemory


class StreamState(NamedTuple):
    """What B streams have taught so far.

    Attributes:
        memory: all that was written; of a learner that has both, its memory's part is the child
            "hidden" and its rows' "rows".
        feedback: what the last step revealed; the next one writes it. A label, (B,) int64, or a
            value, (B, W).
        taught: (B,) bool, whether it revealed anything.
    """

    memory: FastWeights
    feedback: Tensor
    taught: Tensor

    def detach(self) -> Self:
        """The same values, cut off from the graph: the end of a truncated segment."""
        return self._replace(memory=self.memory.detach())


class StreamLearner(nn.Module):
    r"""Predicts every step of a stream from what the steps before it taught.

    $$z_t = \mathrm{encoder}(x_t), \quad \hat y_t = \mathrm{head}(z_t, \mathrm{memory}(z_t, f_t))$$

    where $f_t$ embeds what was revealed about step t-1: the memory writes it under $z_{t-1}$, then
    is read at $z_t$. A new network recalls nothing: it begins as its head alone. Rows add to the
    logits of labels, and can do without the memory: they recall from the start.

    Args:
        width: D.
        config: of the memory; None for none, and rows alone.
        outputs: the number of labels there may be, or the width W of a value.
        kind: labels to be told apart, or values to be approximated.
        encoder: maps inputs (.., *shape) to (.., D); None if the inputs are (.., D) already.
        memory: what remembers, a `SparseMemory` or what is called like one; a `SparseMemory` with a
            `LessonLearner` of `config` and `rate` if None.
        rows: prototypes of the labels, beside the memory or instead of it.

    >>> learner = StreamLearner(16, MemoryConfig(slots=64), outputs=3)
    >>> x, label = torch.randn(1, 10, 16), torch.randint(3, (1, 10))
    >>> logits, state = learner(x, label, torch.ones(1, 10, dtype=torch.bool))
    >>> logits.shape
    torch.Size([1, 10, 3])
    """

    def __init__(
        self,
        width: int,
        config: MemoryConfig | None,
        outputs: int,
        *,
        kind: Literal["labels", "values"] = "labels",
        encoder: nn.Module | None = None,
        rate: float = 0.5,
        memory: SparseMemory | None = None,
        rows: PrototypeMemory | None = None,
    ):
        super().__init__()
        require(
            rows is None or kind == "labels",
            "rows stand for labels, and this learner is of values: leave them out",
        )
        require(
            bool(config or memory or rows),
            "a learner of no memory learns nothing: give it a config, a memory or rows",
        )
        self.kind, self.outputs = kind, outputs
        self.encoder = encoder or nn.Identity()
        if config and not memory:
            memory = SparseMemory(width, config, meta_learner=LessonLearner(width, config, rate))
        self.memory, self.rows = memory, rows
        self.head = (LabelHead if kind == "labels" else ValueHead)(width, outputs)

    def initial_state(self, batch: int) -> StreamState:
        """Nothing taught to B streams."""
        parts = {"hidden": self.memory, "rows": self.rows}
        begun = {k: part.initial_state(batch) for k, part in parts.items() if part is not None}
        return StreamState(_joined(begun), *self.head.nothing(batch))

    def forward(
        self, inputs: Tensor, feedback: Tensor, taught: Tensor, state: StreamState | None = None
    ) -> tuple[Tensor, StreamState]:
        """Go through a segment of B streams.

        Args:
            inputs: (B, T, *shape).
            feedback: what is revealed after each step's prediction: labels, (B, T) int64, or
                values, (B, T, W). What it says where nothing is revealed makes no difference.
            taught: (B, T) bool, whether it is revealed.
            state: what was taught before; None is nothing.

        Returns:
            Predictions made before the step's own feedback, (B, T, outputs): logits of labels, or
            values. And what has been taught since the stream began.
        """
        state = state or self.initial_state(len(inputs))
        x = self.encoder(inputs.flatten(0, 1)).unflatten(0, inputs.shape[:2])
        revealed = torch.cat([state.feedback[:, None], feedback], dim=1)
        lesson = torch.cat([state.taught[:, None], taught], dim=1)
        shown = torch.where(lesson[..., None], self.head.embed(revealed), 0)
        predicted, after = [], {}
        if self.memory is not None:
            before = self._part(state, "hidden")
            recalled, after["hidden"] = self.memory(x, before, feedback=shown[:, :-1])
            predicted.append(self.head(x, recalled))
        if self.rows is not None:
            before = self._part(state, "rows")
            scored, after["rows"] = self.rows(x, revealed[:, :-1], before, revealed=lesson[:, :-1])
            predicted.append(scored)
        told = revealed[:, -1], lesson[:, -1]
        return sum(predicted[1:], predicted[0]), StreamState(_joined(after), *told)

    def _part(self, state: StreamState, name: str) -> FastWeights:
        """What the memory or the rows know: all there is, where they are alone."""
        alone = self.memory is None or self.rows is None
        return state.memory if alone else state.memory.child(name)


def _joined(parts: dict[str, FastWeights]) -> FastWeights:
    """The states of a learner's parts as one."""
    return FastWeights.join(parts) if len(parts) > 1 else next(iter(parts.values()))


class LessonLearner(MetaLearner):
    r"""Generates fast weights from a step and what was revealed about it, $z_{t-1}$ and $f_t$.

    What is asked next is no part of a lesson; a step that revealed nothing, $f_t = 0$, writes
    nothing. At the start, a value is a projection of $f_t$ alone.
    """

    def __init__(self, width: int, config: MemoryConfig, rate: float = 0.5):
        super().__init__(width, config, rate)
        last = nn.Linear(width, width, bias=False)
        self.mix = nn.Sequential(nn.Linear(2 * width, width), nn.SiLU(), last)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(self.value.weight[:, :width])  # the part of the step

    @override
    def forward(self, previous: Tensor, x: Tensor, feedback: Tensor) -> Generated:
        lesson = feedback + self.mix(torch.cat([previous, feedback], dim=-1))
        value, rate, kept = super().forward(torch.zeros_like(x), previous, lesson)
        taught = feedback.any(-1, keepdim=True)
        return Generated(value, rate * taught, None if kept is None else kept * taught)

    @override
    def embed(self, way: Tensor) -> None:
        super().embed(way)
        self.mix.requires_grad_(False)


class LabelHead(nn.Module):
    """Labels by fixed random codes of width D, so that one never met is as good as any."""

    codes: Tensor

    def __init__(self, width: int, labels: int):
        super().__init__()
        codes = nn.init.orthogonal_(torch.empty(labels, width))
        self.register_buffer("codes", normalize(codes, dim=-1) * width**0.5)

    def nothing(self, batch: int) -> tuple[Tensor, Tensor]:
        """Feedback that B streams never got, and that they did not."""
        taught = torch.zeros(batch, dtype=torch.bool, device=self.codes.device)
        return taught.long(), taught

    def embed(self, feedback: Tensor) -> Tensor:
        """Labels (..) as vectors (.., D)."""
        return self.codes[feedback]

    def forward(self, x: Tensor, recalled: Tensor) -> Tensor:
        """The logits (.., labels) of what was recalled (.., D)."""
        return recalled @ self.codes.mT


class ValueHead(nn.Module):
    """Values of width W, embedded in width D and predicted by learned maps."""

    def __init__(self, width: int, outputs: int):
        super().__init__()
        self.embed = nn.Linear(outputs, width)
        self.predict = nn.Sequential(
            nn.Linear(2 * width, 2 * width), nn.SiLU(), nn.Linear(2 * width, outputs)
        )

    def nothing(self, batch: int) -> tuple[Tensor, Tensor]:
        """Feedback that B streams never got, and that they did not."""
        blank = self.embed.weight.new_zeros(batch, self.embed.in_features)
        return blank, blank.new_zeros(batch, dtype=torch.bool)

    def forward(self, x: Tensor, recalled: Tensor) -> Tensor:
        """The value (.., W) at x (.., D), given what was recalled (.., D)."""
        return self.predict(torch.cat([x, recalled], dim=-1))
