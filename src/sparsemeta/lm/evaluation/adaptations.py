"""The registry of what a model may adapt with while it reads; no torch.

An adaptation is its settings, as a frozen dataclass whose field docstrings are help on the command
line, and the methods below. Where a reading needs tensors, they come as a `Learner` from a file of
its own. To add one: that file, its class here, and its name in `ADAPTATIONS`. Arms, grids, plots,
flags and help follow.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from typing_extensions import override

from sparsemeta.config import AtLeast, Count, Settings, Within

if TYPE_CHECKING:
    from sparsemeta.lm.reading import Learner, Model

Axes = Mapping[str, tuple[float, ...]]


@dataclass(frozen=True)
class Adaptation(Settings, ABC):
    """One way to adapt while reading."""

    name: ClassVar[str]
    """What it is called in the name of an arm."""
    about: ClassVar[str]
    """What happens in an arm of that name, as half a sentence."""
    in_words: ClassVar[str]
    """What predictions can draw on by it, in words, with its settings in braces."""
    policy: ClassVar[bool] = False
    """Whether it is the life of the memory: every arm has exactly one such."""
    ablation: ClassVar[bool] = False
    """Whether it takes away, so that no arm has it unless it is named."""
    needs_memory: ClassVar[bool] = False
    needs_gradients: ClassVar[bool] = False
    axes: ClassVar[Axes] = {}
    """The settings that tuning varies, and their values."""

    @property
    def training_tokens(self) -> int:
        """How many tokens of training text it has to see beforehand."""
        return 0

    def prepare(self, model: "Model") -> "Learner":
        """What watches the model read them; `adapting` is given it afterwards."""
        raise NotImplementedError

    @abstractmethod
    def adapting(self, model: Any, prepared: Any) -> "AbstractContextManager[Learner]":
        """Set a model up for one reading, and leave it as it was: the `Learner` of that reading.

        `prepared` is what `prepare` made, once it has watched; None if there was nothing to see.
        """

    def describe(self) -> str:
        """What predictions can draw on by it, in words."""
        return self.in_words.format(**vars(self))

    def grid(self) -> Sequence[Self]:
        """The points that tuning tries; the last axis varies fastest."""
        points = itertools.product(*self.axes.values())
        return [replace(self, **dict(zip(self.axes, point, strict=True))) for point in points]

    def sweep(self) -> Any:
        """A `Learner` that scores all of the grid in one pass, and mixes nothing in.

        Its `nats` are then the mean of each point; None where every point needs a pass of its own.
        """
        return None


class MemoryPolicy(Adaptation):
    """The life of the memory in an arm."""

    policy = True
    needs_memory = True
    empties: ClassVar[bool] = False

    @override
    @contextmanager
    def adapting(self, model: Any, prepared: Any) -> "Iterator[Learner]":
        from sparsemeta.lm.reading import Learner
        from sparsemeta.nn import memory_off

        learner = Learner()
        learner.empties = self.empties
        with nullcontext() if self.needs_memory else memory_off(model):
            yield learner


class NoMemory(MemoryPolicy):
    """No memory."""

    name, about, in_words = "static", "the memory is off", "memory: off"
    needs_memory = False


class DocumentMemory(MemoryPolicy):
    """A memory of one text."""

    name, in_words = "document", "memory: emptied at each text"
    about = "the memory is emptied at each text"
    empties = True


class CarriedMemory(MemoryPolicy):
    """A memory of all texts."""

    name, in_words = "carried", "memory: never emptied"
    about = "the memory is kept through all texts, in the order given"


class Without(Adaptation):
    """A kind of memory that is switched off, where others are on."""

    ablation = True
    needs_memory = True
    kind: ClassVar[str]

    @override
    @contextmanager
    def adapting(self, model: Any, prepared: Any) -> "Iterator[Learner]":
        from sparsemeta.lm.reading import Learner
        from sparsemeta.nn import memory_off

        with memory_off(model, [self.kind]):
            yield Learner()


class NoHidden(Without):
    """Without the memories in blocks."""

    name, kind, in_words = "no-hidden", "hidden", "without memories in blocks"
    about = "the memories in blocks are off"


class NoRows(Without):
    """Without the row memory."""

    name, kind, in_words = "no-rows", "rows", "without row memory"
    about = "the row memory is off"


class NoTables(Without):
    """Without the table memory."""

    name, kind, in_words = "no-tables", "tables", "without table memory"
    about = "the table memory and its gate are off"


@dataclass(frozen=True)
class Cache(Adaptation, section="cache"):
    """The continuous neural cache of Grave, Joulin and Usunier (2016, arXiv 1612.04426)."""

    name = "cache"
    about = "the words that followed similar contexts before are mixed in"
    in_words = "cache: last {size:,} tokens, across texts, weight {weight:g}, theta {theta:g}"
    axes: ClassVar[Axes] = {
        "theta": (4.0, 8.0, 16.0, 32.0, 64.0),
        "weight": (0.05, 0.1, 0.2, 0.3, 0.4),
    }

    size: Count = 2000
    """How many tokens the cache looks back on."""
    weight: Annotated[float, Within(0, 1, open_high=True)] = 0.1
    """Which share of the probability the cache gives (lambda in the paper)."""
    theta: Annotated[float, AtLeast(0)] = 16.0
    """How sharply the cache prefers the past contexts most like the present one; contexts are
    compared by their cosine, so that a value means the same for every model."""

    @override
    @contextmanager
    def adapting(self, model: Any, prepared: Any) -> "Iterator[Learner]":
        from sparsemeta.lm.evaluation import learners

        yield learners.NeuralCache(self.size, self.weight, self.theta)

    def sweep(self) -> Any:
        """All points in one pass: the model reads alike whatever the cache makes of it."""
        from sparsemeta.lm.evaluation import learners

        return learners.CacheSweep(self.size, **self.axes)


@dataclass(frozen=True)
class Dynamic(Adaptation, section="dynamic"):
    """Dynamic evaluation by the RMS rule of Krause et al. (2017, arXiv 1709.07432)."""

    name = "dynamic"
    about = "gradient descent on what has been scored changes the weights"
    in_words = (
        "weights: updated every {segment} tokens, across texts, rate {rate:g}, decay {decay:g}"
    )
    needs_gradients = True
    axes: ClassVar[Axes] = {"rate": (1e-4, 3e-4, 1e-3, 2e-3), "decay": (1e-3, 5e-3, 2e-2)}
    rates_for: ClassVar[int] = 64
    """Tokens between updates that the grid's rates are for; they grow with it, as is advised."""

    segment: Count = 64
    """How many tokens lie between two updates of the weights; 5 in the paper's models of words."""
    rate: Annotated[float, AtLeast(0)] = 5e-4
    """The learning rate (eta in the paper); what is best grows with the segment."""
    decay: Annotated[float, Within(0, 1)] = 5e-3
    """How strongly a weight is drawn back to where training left it (lambda in the paper)."""
    samples: Count = 512
    """How many segments of training text the gradient's mean squares are taken over."""

    @property
    def training_tokens(self) -> int:
        """As many as `samples` segments have."""
        return self.samples * self.segment

    @override
    def prepare(self, model: "Model") -> "Learner":
        from sparsemeta.lm.evaluation import learners

        return learners.MeanSquares(model, self.segment)

    @override
    def adapting(self, model: Any, prepared: Any) -> "AbstractContextManager[Learner]":
        from sparsemeta.lm.evaluation import learners

        scale = prepared.root()
        return learners.RMSUpdate(model, scale, self.segment, self.rate, self.decay).undone()

    def grid(self) -> Sequence[Self]:
        """Rates in proportion to the segment."""
        return [replace(p, rate=p.rate * self.segment / self.rates_for) for p in super().grid()]


ADAPTATIONS: dict[str, type[Adaptation]] = {
    kind.name: kind
    for kind in (
        *(NoMemory, DocumentMemory, CarriedMemory, Cache, Dynamic),
        *(NoHidden, NoRows, NoTables),
    )
}
"""All of them by name, in the order in which they stand in the name of an arm, and act."""
