"""The recipe of an adapter, no torch; its docstrings are the help of `sparsemeta augment`."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from sparsemeta import run as engine
from sparsemeta.config import (
    Count,
    MemoryConfig,
    RowsConfig,
    Settings,
    TablesConfig,
    Within,
)
from sparsemeta.errors import require
from sparsemeta.lm.config import CorpusConfig


@dataclass(frozen=True)
class AdapterTraining(engine.TrainingConfig, section="training"):
    """Truncated back-propagation over parallel streams; the model's own weights stay."""

    steps: Count = 300
    """How many steps the whole run takes."""
    learning_rate: engine.Positive = 2e-3
    """The learning rate of memories inside the network, at its peak."""
    output_rate: engine.Positive = 5.0
    """The learning rate of memories where tokens are predicted, relative to that."""
    warmup: engine.Steps = 10
    """How many steps the learning rate rises; from its peak it falls as half a cosine."""
    final_rate: Annotated[float, Within(0, 1)] = 0.1
    """The learning rate at the end of the run, as a fraction of its peak."""
    streams: Count = 8
    """Streams read side by side (B), each with its own memory."""
    segment: Count = 256
    """Tokens of each stream per step (T); gradients stop at its start, as does attention, the
    memory does not. Not more than the model's own window."""
    precision: engine.Precision = "bf16-mixed"
    """bf16-mixed: autocast (five times faster on recent CPUs); 32-true: float32 throughout."""
    emptied: Annotated[float, Within(0, 1)] = 0.01
    """Chance that a stream's memories are emptied before a segment, so that it learns to begin with
    nothing, too."""
    renamed: Annotated[float, Within(0, 1)] = 0.0
    """Chance that all tokens of such a stream stand for others, drawn at random, until its memories
    are emptied again: the model is wrong there, as it is in a strange domain."""

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""
        require(
            self.emptied > 0 or not self.renamed,
            f"training.renamed = {self.renamed} needs streams whose memories are emptied at times, "
            "but training.emptied = 0. Set both, or neither.",
        )


@dataclass(frozen=True)
class AugmentRecipe(Settings):
    """Everything that decides an adapter."""

    model: str
    """A local folder of a causal language model of transformers."""
    corpus: CorpusConfig = field(default_factory=lambda: CorpusConfig(train=()))
    """What it is trained on."""
    output: tuple[Literal["rows", "tables"], ...] = ("rows", "tables")
    """Memories where tokens are predicted. rows: fast weights of the output layer; tables: what
    followed the same contexts before."""
    rows: RowsConfig = field(default_factory=RowsConfig)
    """The row memory."""
    tables: TablesConfig = field(default_factory=TablesConfig)
    """The table memory, and the gate that says how far it is believed."""
    targets: tuple[str, ...] = ()
    """Modules that get a memory of their own, by name, end of a name, or regular expression: such
    as `layers.4`. They cost more time than memories at the output, and bring less."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    """The memory of each of those."""
    training: AdapterTraining = field(default_factory=AdapterTraining)

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""
        require(
            bool(self.output or self.targets),
            "there is nothing to add: name memories at the output, or targets",
        )
