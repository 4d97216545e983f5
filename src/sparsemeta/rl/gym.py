"""Gymnasium, both ways: our environments as its own, and any of its as a vectorised one of ours.

Importing this file registers ours:

    import gymnasium, sparsemeta.rl.gym
    env = gymnasium.make("sparsemeta/CardSorting-v0", render_mode="ansi")
    envs = gymnasium.make_vec("sparsemeta/CardSorting-v0", num_envs=128)

Settings are given as rules: `gymnasium.make(id, rules=CardSorting(length=512))`. A vector steps in
one batch, and replaces an episode that ends within the same step (`AutoresetMode.SAME_STEP`).
Episodes end by their rules: they terminate and are never truncated. `info` holds what a score needs
and an agent must not be given.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Generator, Tensor

from sparsemeta.errors import ConfigError, MissingExtra, StreamError, require
from sparsemeta.rl import environments as ours
from sparsemeta.rl.environments import REGISTRY, Drawing, Rules, Step, chance, check_action

try:
    import gymnasium
except ImportError as error:
    raise MissingExtra("gymnasium", "rl") from error

from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import batch_space
from gymnasium.wrappers import FlattenObservation

Told = dict[str, Any]
LENGTH = 1024  # steps that an episode is thought to have where its environment sets no limit


class SingleEnv(gymnasium.Env[ndarray, np.int64]):
    """One of our environments, an episode at a time; `ConfigError` if it is not drawn so.

    Whoever watches may be told what an agent is not: the drawing has the whole state.
    """

    def __init__(self, rules: Rules, drawing: Drawing, render_mode: str | None = None):
        self.metadata = {"render_modes": list(drawing.modes), "render_fps": 2}
        modes = f"{type(rules).__name__} has {', '.join(drawing.modes) or 'none'}"
        require(render_mode in (None, *drawing.modes), f"render_mode = {render_mode!r}: {modes}")
        self.observation_space, self.action_space = _spaces(rules)
        self._rules, self._drawing, self.render_mode = rules, drawing, render_mode
        self._state: Any = None  # of the rules
        self._over = True

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[ndarray, Told]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._generator, self._over = _generator(self.np_random), False
        self._state = self._rules.start(1, self._generator)
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[ndarray, float, bool, bool, Told]:
        """Take an action."""
        if self._over:
            raise StreamError("there is no episode, or it is over. Call reset() before step().")
        actions = torch.tensor([int(action)])
        check_action(self._rules, 1, actions)
        turn = self._rules.advance(self._state, actions, self._generator)
        self._state, self._over = turn.state, bool(turn.done)
        info = {name: value.item() for name, value in turn.info._asdict().items()}
        return self._observation(), turn.reward.item(), self._over, False, info

    def render(self) -> Any:
        """The state, as the render mode says; None without one."""
        draw = {"rgb_array": self._drawing.picture, "ansi": self._drawing.text}
        return draw[self.render_mode](self._state) if self.render_mode else None

    def _observation(self) -> ndarray:
        return self._rules.observe(self._state)[0].numpy()


class BatchEnv(VectorEnv[ndarray, ndarray, ndarray]):
    """Many of one of our environments side by side, stepped in one batch; they are not drawn."""

    def __init__(self, rules: Rules, drawing: Drawing, num_envs: int = 1):
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = _spaces(rules)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._environment = ours.TensorVectorEnv(rules, num_envs)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[ndarray, Told]:
        """Begin an episode in each."""
        super().reset(seed=seed)
        return self._environment.reset(_generator(self.np_random)).numpy(), {}

    def step(self, actions: ndarray) -> tuple[ndarray, ndarray, ndarray, ndarray, Told]:
        """Take an action in each; `info["final_obs"]` holds the last observations where done."""
        step = self._environment.step(torch.as_tensor(actions, dtype=torch.int64))
        done = step.done.numpy()
        info = _masked(step.info, ~done)
        if done.any():
            final = np.full(self.num_envs, None, object)
            for row in done.nonzero()[0]:
                final[row] = step.final[row].numpy()
            info |= {"final_obs": final, "_final_obs": done}
            info |= {"final_info": _masked(step.info, done), "_final_info": done}
        reward = step.reward.double().numpy()
        return step.observation.numpy(), reward, done, np.zeros_like(done), info


def _masked(info: Any, rows: ndarray) -> Told:
    """What is known about a step as Gymnasium has it: beside each array, the rows it is about."""
    arrays = {name: value.numpy() for name, value in info._asdict().items()}
    return arrays | {f"_{name}": rows for name in arrays}


def _spaces(rules: Rules) -> tuple[spaces.Box, spaces.Discrete]:
    return spaces.Box(0.0, 1.0, (rules.width,), np.float32), spaces.Discrete(rules.actions)


def _generator(random: np.random.Generator) -> Generator:
    return Generator().manual_seed(int(random.integers(2**63)))


def single(rules: Rules, drawing: Drawing, render_mode: str | None = None) -> SingleEnv:
    """Make a `SingleEnv`: of a class Gymnasium takes all its instances to be drawn in one way."""
    return SingleEnv(rules, drawing, render_mode)


def register() -> None:
    """Make known to Gymnasium what is in the registry and not yet known to it."""
    for id in REGISTRY.keys() - gymnasium.registry.keys():
        spec = ours.find_spec(id)
        assert spec.rules is not None
        gymnasium.register(
            id,
            entry_point=f"{__name__}:{single.__name__}",
            vector_entry_point=f"{__name__}:{BatchEnv.__name__}",
            kwargs={"rules": spec.rules(), "drawing": spec.drawing},
        )


class GymVectorEnv(ours.VectorEnv):
    """B copies of a Gymnasium environment, in one process.

    Observations of any space that `gymnasium.spaces.flatten` turns into a vector: boxes as they
    are, discrete ones one-hot, dictionaries and tuples of them side by side. Actions are discrete.
    An episode that ends is replaced within the same step; one cut off by a time limit is told apart
    from one that is over.

    It is made as `gymnasium.make` would; of a package that must be imported first, `package:id`.
    Settings are its keyword arguments and `max_episode_steps`. `ConfigError` if there is no such
    environment or setting, or its spaces are of another kind.
    """

    def __init__(self, id: str, batch: int, settings: Mapping[str, Any]):
        self._id, self.batch = id, batch
        self._envs = _make(id, batch, settings)
        flat, actions = self._envs.single_observation_space, self._envs.single_action_space
        if not isinstance(actions, spaces.Discrete):
            raise ConfigError(
                f"environment.id = {id!r} has actions {actions}. Supported are Discrete ones: wrap "
                "the environment in one that offers a choice, and register that."
            )
        if not isinstance(flat, spaces.Box):
            seen = self._envs.envs[0].unwrapped.observation_space
            raise ConfigError(
                f"environment.id = {id!r} has observations {seen}, of no fixed width. Supported "
                "are Box, Discrete, MultiDiscrete, MultiBinary, and Tuple and Dict of them."
            )
        self.actions, self.width = int(actions.n), flat.shape[0]
        self._first_action = int(actions.start)
        spec = self._envs.envs[0].spec
        self.length = (spec and spec.max_episode_steps) or LENGTH
        self.render_modes = self._envs.metadata.get("render_modes", ())

    def reset(self, generator: Generator) -> Tensor:
        """Begin B episodes, each by a seed that the generator draws."""
        self._device, self._taken = generator.device, 0
        seeds = torch.randint(2**31, (self.batch,), **chance(generator))
        observations, _ = self._envs.reset(seed=seeds.tolist())
        return self._tensor("an observation", observations)

    def step(self, action: Tensor) -> Step:
        """Take one action (B,) in each; also `StreamError` if the answer is no number."""
        check_action(self, self.batch, action)
        self._taken += 1
        chosen = action.cpu().numpy() + self._first_action
        observation, rewards, terminated, truncated, info = self._envs.step(chosen)
        done, final = terminated | truncated, observation
        if done.any():
            final = observation.copy()
            final[done] = np.stack(info["final_obs"][done])
        return Step(
            observation=self._tensor("an observation", observation),
            reward=self._tensor("a reward", rewards),
            done=torch.as_tensor(done, device=self._device),
            info=(),  # what it says besides is not for the agent, and no score is made of it
            final=self._tensor("an observation", final),
            truncated=torch.as_tensor(truncated & ~terminated, device=self._device),
        )

    def render(self) -> Any:
        """The first environment, as the setting `render_mode` asks; None without one."""
        if self._envs.render_mode is None:
            return None
        try:
            return self._envs.envs[0].render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise ConfigError(f"{self._id} cannot be drawn: {error}") from None

    def _tensor(self, what: str, values: ndarray) -> Tensor:
        """As float32 on the generator's device; all must be finite."""
        found = torch.tensor(values, dtype=torch.float32, device=self._device)
        if not found.isfinite().all():
            row = int((~found.isfinite()).view(self.batch, -1).any(1).nonzero()[0])
            raise StreamError(
                f"{self._id}: {what} after step {self._taken} of episode {row} is "
                f"{found[row].tolist()}. Mend the environment; an agent can learn from finite "
                "numbers only."
            )
        return found


def _make(id: str, batch: int, settings: Mapping[str, Any]) -> SyncVectorEnv:
    same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    try:
        envs = gymnasium.make_vec(id, batch, "sync", same_step, [FlattenObservation], **settings)
    except (gymnasium.error.UnregisteredEnv, ImportError) as error:
        raise ConfigError(
            f"environment.id = {id!r}: {error} Name an environment of another package as "
            "package:id, where importing the package registers it."
        ) from None
    except (gymnasium.error.Error, AssertionError, LookupError, TypeError, ValueError) as error:
        told = ", ".join(f"{name}={value}" for name, value in settings.items()) or "none"
        raise ConfigError(
            f"environment.id = {id!r} cannot be made with environment.settings {told}: {error}"
        ) from None
    assert isinstance(envs, SyncVectorEnv)
    return envs


register()
