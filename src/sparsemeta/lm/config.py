"""The recipe of an adaptive language model: one dataclass per concern, no torch.

A recipe is a TOML file (see `recipes/`). Every field is also a flag of `sparsemeta train`, and its
docstring below is that flag's help.
"""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from sparsemeta import run as engine
from sparsemeta.config import (
    AtLeast,
    Count,
    MemoryConfig,
    RowsConfig,
    Settings,
    TablesConfig,
    Within,
)
from sparsemeta.errors import require


@dataclass(frozen=True)
class CorpusConfig:
    """What is read, in which order, and what is kept apart."""

    train: tuple[str, ...] = ("stdlib",)
    """Files, folders and globs of UTF-8 text; .jsonl files, a document a line; `stdlib`, the source
    of Python's standard library; `hf:OWNER/NAME[/CONFIG][:SPLIT]` or `hf:FOLDER[:SPLIT]`, what the
    `datasets` library loads."""
    validation: tuple[str, ...] = ()
    """Texts, named like those of `train`, that are read while training to choose a checkpoint."""
    holdout: tuple[str, ...] = ()
    """Documents kept out of training, by name or glob, matched against the document's path."""
    field: str = "text"
    """Which field of a .jsonl line or dataset row is the text."""
    wikitext: bool = False
    """Cut files of the WikiText kind into their articles, at lines like ` = Title = `."""
    suffixes: tuple[str, ...] = (".txt", ".md", ".rst", ".py", ".tokens")
    """Which files of a folder are text."""


@dataclass(frozen=True)
class TokenizerConfig(Settings, section="tokenizer"):
    """How text becomes tokens."""

    kind: Literal["bpe", "bytes", "words"] = "bpe"
    """bpe: byte-level pairs learned from the training text; bytes: one token a byte; words: what
    stands between white space, `<eos>` for each line's end, `<unk>` for the rest."""
    vocabulary: Count = 4096
    """Most tokens of the bpe tokenizer (its 256 bytes and the separator included) or of words."""

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""
        least = {"bpe": 257, "bytes": 1, "words": 3}[self.kind]
        what = "bytes, separator" if self.kind == "bpe" else "two and a word"
        require(
            self.vocabulary >= least,
            f"tokenizer.vocabulary = {self.vocabulary} must be at least {least}: {what}",
        )


@dataclass(frozen=True)
class ModelConfig(Settings, section="model"):
    """A decoder language model with fast-weight memory in the layers you name, and at its end."""

    layers: Count = 4
    """Number of decoder blocks."""
    width: Count = 256
    """Width of the residual stream (D)."""
    heads: Count = 4
    """Number of attention heads."""
    window: Count = 128
    """How many tokens, itself included, a token attends to."""
    mlp: Literal["relu2", "swiglu"] = "relu2"
    """relu2: squared ReLU; swiglu: gated SiLU."""
    mlp_width: Count = 1024
    """Hidden width of the MLP."""
    bias: bool = False
    """Whether each token has a bias where it is predicted, at first the logarithm of its share of
    the training text: rare ones need not be unlearned. Good where there are many."""
    memory_layers: tuple[int, ...] = ()
    """Blocks that carry a memory, counted from 0."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    """The memory of each of those blocks."""
    output: tuple[Literal["rows", "tables"], ...] = ()
    """Memories where tokens are predicted. rows: fast weights of the output layer; tables: what
    followed the same contexts before. A model without any, and without memory_layers, is static."""
    rows: RowsConfig = field(default_factory=RowsConfig)
    """The row memory."""
    tables: TablesConfig = field(default_factory=TablesConfig)
    """The table memory, and the gate that says how far it is believed."""

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""
        require(
            self.width % (2 * self.heads) == 0,
            f"model.width = {self.width} must be a multiple of 2 * model.heads = {2 * self.heads}",
        )
        for layer in self.memory_layers:
            require(
                0 <= layer < self.layers,
                f"model.memory_layers names block {layer}; blocks are 0 to {self.layers - 1}",
            )

    @property
    def has_memory(self) -> bool:
        """Whether the model remembers, in any block or where it predicts."""
        return bool(self.memory_layers or self.output)


@dataclass(frozen=True)
class TrainingConfig(engine.TrainingConfig, section="training"):
    """Truncated back-propagation over parallel streams, the memory carried across segments."""

    free: ClassVar[frozenset[str]] = engine.TrainingConfig.free | {
        *("steps", "checkpoint_every", "patience", "devices", "strategy", "recompute")
    }

    streams: Count = 16
    """Streams read side by side (B), each with its own memory."""
    segment: Count = 256
    """Tokens of each stream per step (T); gradients stop at its start, the memory does not."""
    final_rate: Annotated[float, Within(0, 1)] = 0.1
    """The learning rate at the last step, as a fraction of its peak."""
    weight_decay: Annotated[float, AtLeast(0)] = 0.1
    """Weight decay of the matrices."""
    matrix_rate: Annotated[float, AtLeast(0)] = 0.0
    """The learning rate of the matrices of attention and MLP by Muon, at its peak; 0.02 is a good
    one. 0 leaves them to AdamW, at the rate of the rest."""
    output_rate: engine.Positive = 1.0
    """The learning rate of memories where tokens are predicted, relative to that of the rest."""
    negatives: Annotated[int, AtLeast(0)] = 0
    """About how many words, drawn anew for each step, stand for all others in the loss, which is
    cheaper where there are many; 0 takes all. Not with model.output."""
    dropout: Annotated[float, Within(0, 1)] = 0.0
    """The share of activations that are dropped, for text that is read many times."""
    usage_weight: Annotated[float, AtLeast(0)] = 0.0
    """Weight of a loss that pushes the memories to use their slots evenly; 0.01 is a good start."""
    precision: engine.Precision = "bf16-mixed"
    """bf16-mixed: autocast (five times faster on recent CPUs); 32-true: float32 throughout."""
    base: str = ""
    """Run or model folder whose weights and tokenizer it begins with; its own, drawn anew, if left
    out. What that model lacks, such as memories, begins as in any new model."""
    frozen: bool = False
    """Whether the weights of `base` stay as they are, so that its memories alone are trained, old
    ones and new ones, in minutes."""
    emptied: Annotated[float, Within(0, 1)] = 0.0
    """Chance that a stream's memories are emptied before a segment, so that it learns to begin with
    nothing, too; 0.01 is a good value."""
    renamed: Annotated[float, Within(0, 1)] = 0.0
    """Chance that all tokens of such a stream stand for others, drawn at random, until its memories
    are emptied again: the slow weights are wrong there, as they are in a strange domain."""
    accumulate: Count = 1
    """Segments of every stream whose gradients make one optimizer step."""
    recompute: bool = False
    """Whether the blocks keep no activations for the backward pass but compute them once more: less
    memory, more time, the same gradients."""
    validate_every: engine.Steps = 0
    """Steps between readings of `corpus.validation`; 0 never reads it. The best is kept."""
    patience: engine.Steps = 0
    """Stop after this many readings in a row without a better one; 0 never stops early."""
    devices: Count = 1
    """Processes that train together, each with its share of the streams."""
    strategy: engine.Strategy = "auto"
    """fsdp shards weights and optimizer over the processes; auto is ddp where there are several."""

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""
        streams, devices = self.streams, self.devices
        message = f"training.streams = {streams} must be a multiple of training.devices = {devices}"
        require(streams % devices == 0, message)
        require(
            bool(self.base) or not self.frozen,
            "training.frozen = true keeps the weights of training.base, but that names no model. "
            "Name one, or leave both out.",
        )
        require(
            self.emptied > 0 or not self.renamed,
            f"training.renamed = {self.renamed} needs streams whose memories are emptied at times, "
            "but training.emptied = 0. Set both, or neither.",
        )
        require(
            self.validate_every > 0 or not self.patience,
            f"training.patience = {self.patience} counts readings of corpus.validation, but "
            "training.validate_every = 0 never reads it. Set both, or neither.",
        )

    def rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0; the last step has the final one."""
        share = engine.cosine(step, self.steps, self.warmup, self.final_rate, ahead=1)
        return self.learning_rate * share


@dataclass(frozen=True)
class Recipe(Settings):
    """Everything that decides a training run."""

    name: str = "model"
    """Names the run; its folder is runs/NAME unless --run says otherwise."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""
        every = self.training.validate_every
        require(
            bool(self.corpus.validation) or not every,
            f"training.validate_every = {every}, but corpus.validation names no text. Name some, "
            "or set training.validate_every = 0.",
        )
        require(
            not (self.model.output and self.training.negatives),
            f"training.negatives = {self.training.negatives} estimates the loss from some words, "
            f"but model.output = {list(self.model.output)} may remember any. Set one of the two.",
        )
