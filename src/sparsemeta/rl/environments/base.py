"""Rules, B environments side by side that keep to them, agents, and the loop that plays any."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import torch
from torch import Generator, Tensor

from sparsemeta.errors import StreamError, require


class Turn(NamedTuple):
    """What the rules make of an action.

    An episode ends by the rules, not by a time limit from outside: nothing follows it that a value
    could be estimated of.
    """

    state: Any  # after it
    reward: Tensor  # (B,) float32
    done: Tensor  # (B,) bool, whether the episode is over
    info: Any  # what a score needs and an agent must not be given: a named tuple of (B,)


class Rules(Protocol):
    """The rules of an environment: frozen `Settings` that can do this, and know not who plays.

    A state is a named tuple of tensors (B, ...). An episode is one task: what was learned of one
    says nothing about the next.
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

    def start(self, batch: int, generator: Generator) -> Any:
        """Begin B episodes on the generator's device."""

    def observe(self, state: Any) -> Tensor:
        """What is seen of a state, (B, W) float32 between 0 and 1."""
        ...

    def advance(self, state: Any, action: Tensor, generator: Generator) -> Turn:
        """Take an action (B,) int64 in each episode; the state given is left as it is."""
        ...


R = TypeVar("R", bound=Rules)


class Step(NamedTuple):
    """What B environments answer to an action in each."""

    observation: Tensor  # (B, W) float32. Where done, the first of the next episode
    reward: Tensor  # (B,) float32, for the action
    done: Tensor  # (B,) bool, whether the episode that the action was taken in is over
    info: Any  # as that of a `Turn`, about the action
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
    def reset(self, generator: Generator) -> Tensor:
        """Begin B episodes, (B, W) float32, by a generator that draws all until the next reset."""

    @abstractmethod
    def step(self, action: Tensor) -> Step:
        """Take one action (B,) int64 in each; `StreamError` if there is none such or no episode."""

    def render(self) -> Any:
        """What a `Drawing` shows of the first environment; None where there is nothing."""
        return None

    @property
    def unwrapped(self) -> "VectorEnv":
        """The environments without wrappers around them."""
        return self


class TensorVectorEnv(VectorEnv):
    """B environments by the same rules, stepped in one batch; no `state` before the first reset."""

    def __init__(self, rules: Rules, batch: int):
        require(batch >= 1, f"there are {batch} environments side by side; give at least 1")
        self.rules, self.batch, self.state = rules, batch, None
        self.actions, self.width, self.length = rules.actions, rules.width, rules.length

    def reset(self, generator: Generator) -> Tensor:
        """Begin B episodes by the rules."""
        self._generator = generator
        self.state = self.rules.start(self.batch, generator)
        return self.rules.observe(self.state)

    def step(self, action: Tensor) -> Step:
        """Take one action (B,) in each, and replace the episodes that end."""
        if self.state is None:
            raise StreamError("no episode has begun. Call reset(generator) before the first step.")
        check_action(self.rules, self.batch, action)
        state, reward, done, info = self.rules.advance(self.state, action, self._generator)
        observation = final = self.rules.observe(state)
        if done.any():
            pairs = zip(state, self.rules.start(self.batch, self._generator), strict=True)
            rows = ((done.view(-1, *[1] * (old.ndim - 1)), new, old) for old, new in pairs)
            state = state._make(torch.where(*row) for row in rows)
            observation = self.rules.observe(state)
        self.state = state
        return Step(observation, reward, done, info, final)

    def render(self) -> Any:
        """The state, of which the environment's `Drawing` shows the first."""
        return self.state


class ObservationFilter(VectorEnv):
    """An observation wrapper: of each observation only some entries, from 0, are shown."""

    def __init__(self, env: VectorEnv, shown: tuple[int, ...]):
        for entry in shown:
            told = f"environment.observe names entry {entry}; they are 0 to {env.width - 1}"
            require(0 <= entry < env.width, told)
        self._env, self._shown, self.width = env, list(shown), len(shown)
        self.batch, self.actions, self.length = env.batch, env.actions, env.length

    def reset(self, generator: Generator) -> Tensor:
        """Begin B episodes of what is wrapped."""
        return self._env.reset(generator)[:, self._shown]

    def step(self, action: Tensor) -> Step:
        """Take one action (B,) in each of what is wrapped."""
        step = self._env.step(action)
        seen, final = (entries[:, self._shown] for entries in (step.observation, step.final))
        return step._replace(observation=seen, final=final)

    @property
    def unwrapped(self) -> VectorEnv:
        """The environments whose whole observations are seen."""
        return self._env.unwrapped


class Agent(ABC):
    """Plays B episodes at once and learns within each. What `update` gets is all it may know."""

    @abstractmethod
    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Forget everything; B new episodes of the environment begin."""

    @abstractmethod
    def act(self, observation: Tensor) -> Tensor:
        """Choose by the observations (B, W): actions (B,) int64."""

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Learn what came of the actions (B,) taken on the observations; forget where done."""
        return  # an agent that does not learn leaves this out


class Uniform(Agent):
    """Every action with equal probability, always."""

    def reset(self, environment: VectorEnv, generator: Generator) -> None:
        """Note how many actions there are."""
        self._actions, self._chance = environment.actions, chance(generator)

    def act(self, observation: Tensor) -> Tensor:
        """Draw B actions."""
        return torch.randint(self._actions, (len(observation),), **self._chance)


class Record(NamedTuple):
    """What happened in T steps of B environments side by side."""

    action: Tensor  # (T, B) int64
    reward: Tensor  # (T, B) float32
    done: Tensor  # (T, B) bool
    info: Any  # of the steps: a named tuple of (T, B)

    def returns(self) -> Tensor:
        """The sum of rewards of every episode that began and ended in it, (E,) float32."""
        ended = self.ended()
        sums = self.reward.new_zeros(int(ended.max()) + 1, self.reward.shape[1])
        sums.scatter_add_(0, ended, self.reward)
        complete = torch.arange(len(sums), device=sums.device)[:, None] < self.done.sum(0)
        return sums[complete]

    def ended(self) -> Tensor:
        """How many episodes of its environment were over before each step, (T, B) int64."""
        return self.done.cumsum(0) - self.done.long()


def play(
    environment: VectorEnv, agent: Agent, generator: Generator, steps: int | None = None
) -> Record:
    """Let an agent play B environments from a reset on, T `steps` or as the longest episode has."""
    observation = environment.reset(generator)
    agent.reset(environment, generator)
    taken = []
    for _ in range(steps or environment.length):
        action = agent.act(observation)
        step = environment.step(action)
        agent.update(observation, action, step.reward, step.done)
        taken.append((action, step.reward, step.done, step.info))
        observation = step.observation
    *rest, info = zip(*taken, strict=True)
    merged = type(info[0])(*(torch.stack(field) for field in zip(*info, strict=True)))
    return Record._make([*map(torch.stack, rest), merged])


def chance(generator: Generator) -> dict[str, Any]:
    """The keyword arguments by which torch draws from a generator, on its device."""
    return {"generator": generator, "device": generator.device}


def pick(table: Tensor, index: Tensor) -> Tensor:
    """One entry (B, ...) of every row of a table (B, N, ...), by its index (B,)."""
    return table[torch.arange(len(index), device=index.device), index]


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
