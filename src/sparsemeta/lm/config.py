"""The recipe of an adaptive language model: one dataclass per concern, no torch.

A recipe is a TOML file (see `recipes/`). Every field is also a flag of `sparsemeta train`, and its
docstring below is that flag's help.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from sparsemeta.config import MemoryConfig
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
class TokenizerConfig:
    """How text becomes tokens."""

    kind: Literal["bpe", "bytes", "words"] = "bpe"
    """bpe: byte-level pairs learned from the training text; bytes: one token a byte; words: what
    stands between white space, `<eos>` for each line's end, `<unk>` for the rest."""
    vocabulary: int = 4096
    """Most tokens of the bpe tokenizer (its 256 bytes and the separator included) or of words."""


@dataclass(frozen=True)
class ModelConfig:
    """A decoder language model with sparse fast-weight memory in the layers you name."""

    layers: int = 4
    """Decoder blocks."""
    width: int = 256
    """Width of the residual stream (D)."""
    heads: int = 4
    """Attention heads."""
    window: int = 128
    """How many tokens, itself included, a token attends to."""
    mlp: Literal["relu2", "swiglu"] = "relu2"
    """relu2: squared ReLU; swiglu: gated SiLU."""
    mlp_width: int = 1024
    """Hidden width of the MLP."""
    memory_layers: tuple[int, ...] = ()
    """Blocks that carry a memory, counted from 0; none makes a static model."""
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    """The memory of each of those blocks."""

    def __post_init__(self) -> None:
        for name in ("layers", "width", "heads", "window", "mlp_width"):
            require(getattr(self, name) >= 1, f"model.{name} must be at least 1")
        require(
            self.width % (2 * self.heads) == 0,
            f"model.width = {self.width} must be a multiple of 2 * model.heads = {2 * self.heads}",
        )
        for layer in self.memory_layers:
            require(
                0 <= layer < self.layers,
                f"model.memory_layers names block {layer}; blocks are 0 to {self.layers - 1}",
            )


@dataclass(frozen=True)
class TrainingConfig:
    """Truncated back-propagation over parallel streams, the memory carried across segments."""

    steps: int = 500
    """Optimizer steps."""
    streams: int = 16
    """Streams read side by side (B), each with its own memory."""
    segment: int = 256
    """Tokens of each stream per step (T); gradients stop at its start, the memory does not."""
    learning_rate: float = 2e-3
    """Peak learning rate of AdamW."""
    final_rate: float = 0.1
    """Learning rate at the last step, as a fraction of the peak (cosine decay)."""
    warmup: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.1
    """Weight decay of the matrices."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    usage_weight: float = 0.0
    """Weight of a loss that pushes the memories to use their slots evenly; 0.01 is a good start."""
    precision: Literal["bf16-mixed", "32-true"] = "bf16-mixed"
    """bf16-mixed: autocast (five times faster on recent CPUs); 32-true: float32 throughout."""
    seed: int = 0
    """Seed of the initial weights."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    accumulate: int = 1
    """Segments of every stream whose gradients make one optimizer step."""
    validate_every: int = 0
    """Steps between readings of `corpus.validation`; 0 never reads it. The best is kept."""
    patience: int = 0
    """Stop after this many readings in a row without a better one; 0 never stops early."""
    devices: int = 1
    """Processes that train together, each with its share of the streams."""
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    """fsdp shards weights and optimizer over the processes; auto is ddp where there are several."""
    tensorboard: bool = False
    """Also write the log for TensorBoard."""

    def __post_init__(self) -> None:
        for name in ("steps", "streams", "segment", "checkpoint_every", "accumulate", "devices"):
            require(getattr(self, name) >= 1, f"training.{name} must be at least 1")
        for name in ("warmup", "validate_every", "patience", "usage_weight"):
            require(getattr(self, name) >= 0, f"training.{name} must not be negative")
        require(
            self.streams % self.devices == 0,
            f"training.streams = {self.streams} must be a multiple of training.devices = "
            f"{self.devices}",
        )
        for name in ("learning_rate", "clip"):
            require(getattr(self, name) > 0, f"training.{name} must be positive")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run."""

    name: str = "model"
    """Names the run; its folder is runs/NAME unless --run says otherwise."""
    corpus: CorpusConfig = field(default_factory=CorpusConfig)
    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
