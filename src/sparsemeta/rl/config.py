"""The recipe of an agent: one dataclass per concern, no torch.

A recipe is a TOML file (see `recipes/rl/`). Every field is also a flag of `sparsemeta rl train`,
and its docstring below is that flag's help.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from sparsemeta.config import MemoryConfig
from sparsemeta.errors import require
from sparsemeta.rl.environments import id_help


@dataclass(frozen=True)
class EnvironmentConfig:
    """Where the agent lives."""

    id: Annotated[str, id_help()] = "sparsemeta/CardSorting-v0"
    settings: tuple[str, ...] = ()
    """What is set in it, each as name=value: hazard=0.1."""
    observe: tuple[int, ...] = ()
    """Which entries of an observation the agent is shown; none named shows all."""


@dataclass(frozen=True)
class AgentConfig:
    """A recurrent network whose layers carry fast weights, and an actor and a critic on top."""

    width: int = 64
    """Width of every layer (D)."""
    layers: int = 1
    """Recurrent layers."""
    core: Literal["gru", "lstm"] = "gru"
    """The recurrent network that is augmented."""
    adaptive: bool = True
    """Whether the layers carry a fast-weight memory; without one it is the recurrent network."""
    memory: MemoryConfig = field(
        default_factory=lambda: MemoryConfig(
            slots=64, active=4, heads=2, key_width=16, value_width=16, retention=True
        )
    )
    """The memory of each layer."""

    def __post_init__(self) -> None:
        for name in ("width", "layers"):
            require(getattr(self, name) >= 1, f"agent.{name} must be at least 1")


@dataclass(frozen=True)
class TrainingConfig:
    """An actor-critic with generalised advantages, on segments with carried state."""

    algorithm: Literal["a2c", "ppo"] = "ppo"
    """a2c: one update for each segment; ppo: several, clipped (Schulman et al. 2017)."""
    steps: int = 5_000_000
    """Steps of all environments together."""
    environments: int = 256
    """Environments side by side (B)."""
    segment: int = 32
    """Steps of each between updates (T); gradients stop at its start, the memory does not."""
    episodes: int = 1
    """Episodes of one task in a row: fast weights are kept until it is over."""
    learning_rate: float = 3e-3
    """Of Adam, at its highest."""
    warmup: int = 20
    """Segments over which it rises; then it falls as half a cosine."""
    discount: float = 0.9
    """Worth of a reward one step later (gamma)."""
    trace: float = 0.95
    """Weight of longer returns in the advantage (lambda; Schulman et al. 2016)."""
    reward_scale: float = 1.0
    """What rewards are multiplied by for the critic, best so that its values stay near 1."""
    entropy: float = 0.05
    """Reward for an undecided policy, at the start; it falls to nothing in a straight line."""
    value: float = 0.5
    """Weight of the critic's loss."""
    max_norm: float = 0.5
    """Largest norm of the gradient."""
    minibatches: int = 8
    """ppo: parts of the environments that a segment's updates take in turn."""
    epochs: int = 1
    """ppo: times that a segment is learned from."""
    clip: float = 0.2
    """ppo: how far from 1 the ratio of new to old probabilities may earn anything."""
    seed: int = 0
    """Of the initial weights, the environments and the actions."""
    checkpoint_every: int = 100
    """Segments between checkpoints. After each all episodes begin anew, so that a run that was
    killed goes on from its last one as if it had not been."""

    def __post_init__(self) -> None:
        for name in (
            "steps",
            "environments",
            "segment",
            "episodes",
            "warmup",
            "minibatches",
            "epochs",
            "checkpoint_every",
        ):
            require(getattr(self, name) >= 1, f"training.{name} must be at least 1")
        for name in ("learning_rate", "reward_scale", "max_norm", "clip"):
            require(getattr(self, name) > 0, f"training.{name} must be positive")
        for name in ("discount", "trace"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"training.{name} = {value} must lie between 0 and 1")
        for name in ("entropy", "value"):
            require(getattr(self, name) >= 0, f"training.{name} must not be negative")
        require(
            self.environments % self.minibatches == 0,
            f"training.environments = {self.environments} must be a multiple of "
            f"training.minibatches = {self.minibatches}",
        )

    @property
    def segments(self) -> int:
        """Segments of a whole run."""
        return -(-self.steps // (self.environments * self.segment))


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run."""

    name: str = "agent"
    """Names the run; its folder is runs/rl/NAME unless --run says otherwise."""
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
