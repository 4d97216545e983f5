"""The rules of an environment: functions of a state, which know nothing of who plays."""

from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

State = TypeVar("State", bound=tuple)  # a named tuple of tensors (B, ...)
Info = TypeVar("Info", bound=tuple)  # what is known about a step: a named tuple of (B,)


class Turn(NamedTuple, Generic[State, Info]):
    """What the rules make of an action.

    An episode ends by the rules, not by a time limit from outside: nothing follows it that a value
    could be estimated of.
    """

    state: State  # after it
    reward: Tensor  # (B,) float32
    done: Tensor  # (B,) bool, whether the episode is over
    info: Info  # what a score needs and an agent must not be given, each (B,)


class Rules(Protocol[State, Info]):
    """The rules of an environment: frozen `Settings` that can do this.

    An episode is one task: what was learned of one says nothing about the next.
    """

    @property
    def actions(self) -> int:
        """The number of actions, counted from 0."""
        ...

    @property
    def width(self) -> int:
        """The width W of an observation."""
        ...

    @property
    def length(self) -> int:
        """Steps of an episode, at most."""
        ...

    def start(self, batch: int, generator: torch.Generator) -> State:
        """Begin B episodes on the generator's device."""
        ...

    def observe(self, state: State) -> Tensor:
        """What is seen of a state, (B, W) float32 between 0 and 1."""
        ...

    def advance(
        self, state: State, action: Tensor, generator: torch.Generator
    ) -> Turn[State, Info]:
        """Take an action (B,) int64 in each episode; the state given is left as it is."""
        ...
