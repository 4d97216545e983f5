"""The recipe of an agent: one dataclass per concern, no torch.

A recipe is a TOML file (see `recipes/rl/`). Every field is also a flag of `sparsemeta rl train`,
and its docstring below is that flag's help.
"""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from sparsemeta import run as engine
from sparsemeta.config import AtLeast, Count, MemoryConfig, Settings, Within
from sparsemeta.errors import require
from sparsemeta.rl.environments import id_help

_MEMORY = MemoryConfig(slots=64, active=4, heads=2, key_width=16, value_width=16, retention=True)


@dataclass(frozen=True)
class EnvironmentConfig:
    """Where the agent lives."""

    id: Annotated[str, id_help()] = "sparsemeta/CardSorting-v0"
    settings: tuple[str, ...] = ()
    """What is set in it, each as name=value: hazard=0.1."""
    observe: tuple[int, ...] = ()
    """Which entries of an observation the agent is shown; none named shows all."""


@dataclass(frozen=True)
class AgentConfig(Settings, section="agent"):
    """A recurrent network whose layers carry fast weights, and an actor and a critic on top."""

    width: Count = 64
    """Width of every layer (D)."""
    layers: Count = 1
    """Number of recurrent layers."""
    core: Literal["gru", "lstm"] = "gru"
    """The kind of recurrent network that is augmented."""
    adaptive: bool = True
    """Whether the layers carry a fast-weight memory; without one it is the recurrent network."""
    memory: MemoryConfig = _MEMORY
    """The memory of each layer."""


@dataclass(frozen=True)
class TrainingConfig(engine.TrainingConfig, section="training"):
    """An actor-critic with generalised advantages, on segments with carried state."""

    algorithm: Literal["a2c", "ppo"] = "ppo"
    """a2c: one update for each segment, which is ppo with one epoch of one minibatch; ppo: several
    updates, clipped (Schulman et al. 2017)."""
    steps: Count = 5_000_000
    """Steps of all environments together in the whole run."""
    environments: Count = 256
    """Environments side by side (B)."""
    segment: Count = 32
    """Steps of each environment between updates (T); gradients stop at the start of a segment, the
    memory does not."""
    episodes: Count = 1
    """Episodes of one task in a row: fast weights are kept until the task is over."""
    learning_rate: engine.Positive = 3e-3
    """The learning rate of Adam at its peak."""
    warmup: engine.Steps = 20
    """How many segments the learning rate rises; from its peak it falls as half a cosine."""
    final_rate: Annotated[float, Within(0, 1)] = 0.02
    """The learning rate at the end of the run, as a fraction of its peak."""
    discount: Annotated[float, Within(0, 1)] = 0.9
    """Worth of a reward one step later (gamma)."""
    trace: Annotated[float, Within(0, 1)] = 0.95
    """Weight of longer returns in the advantage (lambda; Schulman et al. 2016)."""
    reward_scale: engine.Positive = 1.0
    """What rewards are multiplied by for the critic, best so that its values stay near 1."""
    entropy: Annotated[float, AtLeast(0)] = 0.05
    """Reward for an undecided policy at the start; it falls to nothing in a straight line."""
    value: Annotated[float, AtLeast(0)] = 0.5
    """Weight of the critic's loss."""
    clip: engine.Positive = 0.5
    """The largest norm of an update's gradient; a longer gradient is scaled down to it."""
    minibatches: Count = 8
    """Parts of the environments that a segment's updates take in turn, with ppo."""
    epochs: Count = 1
    """Times that a segment is learned from, with ppo."""
    ratio_clip: engine.Positive = 0.2
    """How far from 1 the ratio of new to old probabilities may earn anything, with ppo."""
    checkpoint_every: Count = 100
    """Segments between checkpoints. After each all episodes begin anew, so that a run that was
    killed goes on from its last one as if it had not been."""

    def check(self) -> None:
        """Raise `ConfigError` where settings do not go together."""
        require(
            self.environments % self.minibatches == 0,
            f"training.environments = {self.environments} must be a multiple of "
            f"training.minibatches = {self.minibatches}",
        )

    @property
    def updates(self) -> int:
        """Segments of a whole run."""
        return -(-self.steps // (self.environments * self.segment))

    @property
    def passes(self) -> tuple[int, int]:
        """How often a segment is learned from, and in how many parts."""
        return (self.epochs, self.minibatches) if self.algorithm == "ppo" else (1, 1)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run."""

    name: str = "agent"
    """Names the run; its folder is runs/rl/NAME unless --run says otherwise."""
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    agent: AgentConfig = field(default_factory=AgentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
