"""Any environment of Gymnasium as a vectorised environment of ours: tensors in and out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sparsemeta.errors import ConfigError, MissingExtra, StreamError
from sparsemeta.rl.environments import Step, VectorEnv, check_action

try:
    import gymnasium
except ImportError as error:
    raise MissingExtra("gymnasium", "rl") from error

from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.vector.utils import iterate

LENGTH = 1024
"""Steps that an episode is thought to have where its environment sets no limit."""


class NoInfo(NamedTuple):
    """What an environment says besides is not for the agent, and no score is made of it."""


class GymVectorEnv(VectorEnv):
    """B copies of a Gymnasium environment, in one process.

    Observations of any space that `gymnasium.spaces.flatten` turns into a vector: boxes as they
    are, discrete ones one-hot, dictionaries and tuples of them side by side. Actions are discrete.
    An episode that ends is replaced within the same step; one cut off by a time limit is told apart
    from one that is over.

    Args:
        id: as in `gymnasium.make`; of a package that must be imported first, `package:id`.
        batch: B.
        settings: keyword arguments of the environment, and `max_episode_steps`.

    Raises:
        ConfigError: there is no such environment or setting, or its spaces are of another kind.
    """

    def __init__(self, id: str, batch: int, settings: Mapping[str, Any]):
        self._id, self.batch = id, batch
        self._envs = _make(id, batch, settings)
        seen, actions = self._envs.single_observation_space, self._envs.single_action_space
        if not isinstance(actions, spaces.Discrete):
            raise ConfigError(
                f"environment.id = {id!r} has actions {actions}. Supported are Discrete ones: wrap "
                "the environment in one that offers a choice, and register that."
            )
        flat = spaces.flatten_space(seen)
        if not isinstance(flat, spaces.Box):
            raise ConfigError(
                f"environment.id = {id!r} has observations {seen}, of no fixed width. Supported "
                "are Box, Discrete, MultiDiscrete, MultiBinary, and Tuple and Dict of them."
            )
        self._seen, self._first_action = seen, int(actions.start)
        self.actions, self.width = int(actions.n), flat.shape[0]
        spec = self._envs.envs[0].spec
        self.length = (spec and spec.max_episode_steps) or LENGTH
        self.render_modes = self._envs.metadata.get("render_modes", ())

    def reset(self, generator: torch.Generator) -> Tensor:
        """Begin B episodes, each by a seed that the generator draws."""
        self._device, self._taken = generator.device, 0
        seeds = torch.randint(2**31, (self.batch,), generator=generator, device=generator.device)
        observations, _ = self._envs.reset(seed=seeds.tolist())
        return self._tensor("an observation", self._flatten(observations))

    def step(self, action: Tensor) -> Step[NoInfo]:
        """Take one action (B,) in each.

        Raises:
            StreamError: there is no such action, or the answer is no number.
        """
        check_action(self, self.batch, action)
        self._taken += 1
        chosen = action.cpu().numpy() + self._first_action
        observations, rewards, terminated, truncated, info = self._envs.step(chosen)
        observation = self._flatten(observations)
        done, final = terminated | truncated, observation
        if done.any():
            final = observation.copy()
            for row in done.nonzero()[0]:
                final[row] = spaces.flatten(self._seen, info["final_obs"][row])
        return Step(
            observation=self._tensor("an observation", observation),
            reward=self._tensor("a reward", rewards),
            done=torch.as_tensor(done, device=self._device),
            info=NoInfo(),
            final=self._tensor("an observation", final),
            truncated=torch.as_tensor(truncated & ~terminated, device=self._device),
        )

    def render(self) -> Any:
        """The first environment, as the setting `render_mode` asks; None without one.

        Raises:
            ConfigError: what it is drawn with is not installed.
        """
        if self._envs.render_mode is None:
            return None
        try:
            return self._envs.envs[0].render()
        except gymnasium.error.DependencyNotInstalled as error:
            raise ConfigError(f"{self._id} cannot be drawn: {error}") from None

    def _flatten(self, observations: Any) -> np.ndarray:
        """Observations of B episodes as (B, W)."""
        if isinstance(self._seen, spaces.Box):
            return observations.reshape(self.batch, -1)
        rows = iterate(self._envs.observation_space, observations)
        return np.stack([np.asarray(spaces.flatten(self._seen, row)) for row in rows])

    def _tensor(self, what: str, values: np.ndarray) -> Tensor:
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
    try:
        envs = gymnasium.make_vec(
            id,
            num_envs=batch,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": AutoresetMode.SAME_STEP},
            **settings,
        )
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
