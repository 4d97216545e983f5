"""B copies of one environment, stepped together, and what the rules of one consist of."""

from __future__ import annotations

from typing import Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

from sparsemeta.errors import StreamError, require

S = TypeVar("S", bound=tuple)  # a state: a named tuple of tensors (B, ...)
R = TypeVar("R")  # a kind of rules
I = TypeVar("I", bound=tuple)  # noqa: E741  # what is known about a step: a named tuple of (B,)


class Turn(NamedTuple, Generic[S, I]):
    """What the rules make of an action.

    Attributes:
        state: after it.
        reward: (B,) float32.
        done: (B,) bool, whether the episode is over. It ends by the rules, not by a time limit
            from outside: nothing follows it that a value could be estimated of.
        info: what a score needs and an agent must not be given, each (B,).
    """

    state: S
    reward: Tensor
    done: Tensor
    info: I


class Rules(Protocol[S, I]):
    """The rules of an environment: frozen settings that can do this.

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

    def start(self, batch: int, generator: torch.Generator) -> S:
        """Begin B episodes on the generator's device."""
        ...

    def observe(self, state: S) -> Tensor:
        """What is seen of a state, (B, W) float32 between 0 and 1."""
        ...

    def advance(self, state: S, action: Tensor, generator: torch.Generator) -> Turn[S, I]:
        """Take an action (B,) int64 in each episode; the state given is left as it is."""
        ...


class Step(NamedTuple, Generic[I]):
    """What an environment answers to an action.

    Attributes:
        observation: (B, W) float32. Where done, the first of the next episode.
        reward: (B,) float32, for the action.
        done: (B,) bool, whether the episode that the action was taken in is over.
        info: what a score needs and an agent must not be given, each (B,), about the action.
        final: (B, W) float32, like `observation`, but where done the last of its episode.
        truncated: (B,) bool, where done only because the time was up; None where it never is.
    """

    observation: Tensor
    reward: Tensor
    done: Tensor
    info: I
    final: Tensor
    truncated: Tensor | None = None


class World(Protocol):
    """B episodes side by side, of whatever kind.

    Attributes:
        batch: B.
        actions: the number of actions, counted from 0.
        width: W, of an observation.
        length: steps of an episode, at most.
    """

    batch: int
    actions: int
    width: int
    length: int

    def reset(self, generator: torch.Generator) -> Tensor:
        """Begin B episodes; returns observations (B, W) on the generator's device."""
        ...

    def step(self, action: Tensor) -> Step:
        """Take one action (B,) in each; an episode that ends is replaced within the same step."""
        ...


class Environment(World, Generic[S, I]):
    """B episodes side by side. One that ends is replaced within the same step (autoreset).

    Args:
        rules: the rules that all follow.
        batch: B.

    Raises:
        ConfigError: B is less than 1.
    """

    def __init__(self, rules: Rules[S, I], batch: int):
        require(batch >= 1, f"an environment of {batch} episodes side by side has none; give 1")
        self.rules, self.batch = rules, batch
        self.actions, self.width, self.length = rules.actions, rules.width, rules.length
        self.state: S | None = None

    def reset(self, generator: torch.Generator) -> Tensor:
        """Begin B episodes.

        Args:
            generator: the source of all chance until the next reset; its device is where the
                episodes live.

        Returns:
            (B, W) float32 observations.
        """
        self._generator = generator
        self.state = self.rules.start(self.batch, generator)
        return self.rules.observe(self.state)

    def step(self, action: Tensor) -> Step[I]:
        """Take one action in each episode.

        Args:
            action: (B,) int64.

        Returns:
            What follows.

        Raises:
            StreamError: there is no such action, not one for each episode, or no episode yet.
        """
        if self.state is None:
            raise StreamError("no episode has begun. Call reset(generator) before the first step.")
        check_action(self.rules, self.batch, action)
        state, reward, done, info = self.rules.advance(self.state, action, self._generator)
        observation = final = self.rules.observe(state)
        if done.any():
            fresh = self.rules.start(self.batch, self._generator)
            state = replace_rows(state, done, fresh)
            observation = self.rules.observe(state)
        self.state = state
        return Step(observation, reward, done, info, final)


def rules_of(world: World, kind: type[R]) -> R:
    """The rules of a world, for an agent that is told them; `StreamError` if it has others."""
    rules = world.rules if isinstance(world, Environment) else None
    if not isinstance(rules, kind):
        raise StreamError(f"this agent plays {kind.__name__} alone, not {rules or world}.")
    return rules


def check_action(rules: Rules | World, batch: int, action: Tensor) -> None:
    """Raise `StreamError` unless these are actions that there are, (B,) int64."""
    actions = rules.actions
    if action.shape != (batch,) or action.dtype != torch.int64:
        raise StreamError(
            f"actions are ({batch},) int64, one for each episode, not "
            f"{tuple(action.shape)} {str(action.dtype).removeprefix('torch.')}."
        )
    wrong = (action < 0) | (action >= actions)
    if wrong.any():
        raise StreamError(
            f"there is no action {int(action[wrong][0])}: {type(rules).__name__} has {actions}, "
            f"0 to {actions - 1}."
        )


def replace_rows(state: S, rows: Tensor, fresh: S) -> S:
    """A state with some rows, (B,) bool, from another one."""
    pairs = zip(state, fresh, strict=True)
    merged = (torch.where(rows.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in pairs)
    return type(state)(*merged)
