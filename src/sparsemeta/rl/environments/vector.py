"""Vectorised environments: B of one kind side by side, with tensors in and out."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from sparsemeta.errors import StreamError, require
from sparsemeta.rl.environments.rules import Info, Rules, State

R = TypeVar("R", bound=Rules)


class Step(NamedTuple, Generic[Info]):
    """What B environments answer to an action in each."""

    observation: Tensor  # (B, W) float32. Where done, the first of the next episode
    reward: Tensor  # (B,) float32, for the action
    done: Tensor  # (B,) bool, whether the episode that the action was taken in is over
    info: Info  # what a score needs and an agent must not be given, each (B,), about the action
    final: Tensor  # (B, W) float32, like `observation`, but where done the last of its episode
    truncated: Tensor | None = None  # (B,) bool, where done by a time limit; None: by none


class VectorEnv(ABC):
    """B environments side by side. An episode that ends is replaced within the same step."""

    batch: int  # B
    actions: int  # how many there are, counted from 0
    width: int  # W, of an observation
    length: int  # steps of an episode, at most
    render_modes: Sequence[str] = ()  # what Gymnasium can be asked to render them as

    @abstractmethod
    def reset(self, generator: torch.Generator) -> Tensor:
        """Begin B episodes.

        Args:
            generator: draws all that is random until the next reset; its device is where the
                episodes are.

        Returns:
            (B, W) float32 observations.
        """

    @abstractmethod
    def step(self, action: Tensor) -> Step:
        """Take one action (B,) int64 in each environment.

        Raises:
            StreamError: there is no such action, not one for each environment, or no episode yet.
        """

    def render(self) -> Any:
        """What a `Drawing` shows of the first environment; None where there is nothing."""
        return None

    @property
    def unwrapped(self) -> "VectorEnv":
        """The environments without wrappers around them."""
        return self


class TensorVectorEnv(VectorEnv, Generic[State, Info]):
    """B environments by the same rules, stepped in one batch.

    Attributes:
        state: of the rules, (B, ...); None before the first reset.

    Raises:
        ConfigError: B is less than 1.
    """

    def __init__(self, rules: Rules[State, Info], batch: int):
        require(batch >= 1, f"there are {batch} environments side by side; give at least 1")
        self.rules, self.batch = rules, batch
        self.actions, self.width, self.length = rules.actions, rules.width, rules.length
        self.state: State | None = None

    def reset(self, generator: torch.Generator) -> Tensor:
        """Begin B episodes by the rules."""
        self._generator = generator
        self.state = self.rules.start(self.batch, generator)
        return self.rules.observe(self.state)

    def step(self, action: Tensor) -> Step[Info]:
        """Take one action (B,) in each, and replace the episodes that end."""
        if self.state is None:
            raise StreamError("no episode has begun. Call reset(generator) before the first step.")
        check_action(self.rules, self.batch, action)
        state, reward, done, info = self.rules.advance(self.state, action, self._generator)
        observation = final = self.rules.observe(state)
        if done.any():
            state = _replace_rows(state, done, self.rules.start(self.batch, self._generator))
            observation = self.rules.observe(state)
        self.state = state
        return Step(observation, reward, done, info, final)

    def render(self) -> State | None:
        """The state, of which the environment's `Drawing` shows the first."""
        return self.state


class ObservationFilter(VectorEnv):
    """An observation wrapper: of each observation only some entries are shown.

    Args:
        env: what is wrapped.
        shown: which entries, counted from 0.

    Raises:
        ConfigError: there is no such entry.
    """

    def __init__(self, env: VectorEnv, shown: tuple[int, ...]):
        for entry in shown:
            require(
                0 <= entry < env.width,
                f"environment.observe names entry {entry}; they are 0 to {env.width - 1}",
            )
        self._env, self._shown = env, list(shown)
        self.batch, self.actions, self.length = env.batch, env.actions, env.length
        self.width = len(shown)

    def reset(self, generator: torch.Generator) -> Tensor:
        """Begin B episodes of what is wrapped."""
        return self._env.reset(generator)[:, self._shown]

    def step(self, action: Tensor) -> Step:
        """Take one action (B,) in each of what is wrapped."""
        step = self._env.step(action)
        return step._replace(
            observation=step.observation[:, self._shown], final=step.final[:, self._shown]
        )

    @property
    def unwrapped(self) -> VectorEnv:
        """The environments whose whole observations are seen."""
        return self._env.unwrapped


def rules_of(env: VectorEnv, kind: type[R]) -> R:
    """The rules of environments, for an agent that is told them; `StreamError` if others."""
    rules = env.rules if isinstance(env, TensorVectorEnv) else None
    if not isinstance(rules, kind):
        raise StreamError(f"this agent plays {kind.__name__} alone, not {rules or env}.")
    return rules


def check_action(of: Rules | VectorEnv, batch: int, action: Tensor) -> None:
    """Raise `StreamError` unless these are actions that there are, (B,) int64."""
    if action.shape != (batch,) or action.dtype != torch.int64:
        raise StreamError(
            f"actions are ({batch},) int64, one for each episode, not "
            f"{tuple(action.shape)} {str(action.dtype).removeprefix('torch.')}."
        )
    wrong = (action < 0) | (action >= of.actions)
    if wrong.any():
        raise StreamError(
            f"there is no action {int(action[wrong][0])}: {type(of).__name__} has {of.actions}, "
            f"0 to {of.actions - 1}."
        )


def _replace_rows(state: State, rows: Tensor, fresh: State) -> State:
    """A state with some rows, (B,) bool, from another one."""
    pairs = zip(state, fresh, strict=True)
    merged = (torch.where(rows.view(-1, *[1] * (a.ndim - 1)), b, a) for a, b in pairs)
    return type(state)(*merged)
