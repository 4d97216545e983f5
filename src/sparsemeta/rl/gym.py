"""The environments for Gymnasium. Importing this file registers them.

    import gymnasium, sparsemeta.rl.gym
    env = gymnasium.make("sparsemeta/CardSorting-v0", render_mode="ansi")
    envs = gymnasium.make_vec("sparsemeta/CardSorting-v0", num_envs=128)

Settings are given as rules: `gymnasium.make(id, rules=CardSorting(length=512))`. A vector steps in
one batch, and replaces an episode that ends within the same step (`AutoresetMode.SAME_STEP`).
Episodes end by their rules: they terminate and are never truncated. `info` holds what a score needs
and an agent must not be given.
"""

from typing import Any

import numpy as np
import torch

from sparsemeta.errors import MissingExtra, StreamError, require
from sparsemeta.rl.environments import (
    REGISTRY,
    Drawing,
    Rules,
    TensorVectorEnv,
    check_action,
    find_spec,
)

try:
    import gymnasium
except ImportError as error:
    raise MissingExtra("gymnasium", "rl") from error

from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

Array = np.ndarray


class SingleEnv(gymnasium.Env[Array, np.int64]):
    """One of our environments, an episode at a time.

    Whoever watches may be told what an agent is not: the drawing has the whole state.

    Raises:
        ConfigError: it is not drawn in the render mode.
    """

    def __init__(self, rules: Rules, drawing: Drawing, render_mode: str | None = None):
        self.metadata = {"render_modes": list(drawing.modes), "render_fps": 2}
        require(
            render_mode in (None, *drawing.modes),
            f"render_mode = {render_mode!r}: {type(rules).__name__} has "
            f"{', '.join(drawing.modes) or 'none'}",
        )
        self.observation_space, self.action_space = _spaces(rules)
        self.render_mode = render_mode
        self._rules, self._drawing = rules, drawing
        self._state: Any = None  # of the rules
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode."""
        super().reset(seed=seed)
        self._generator, self._over = _generator(self.np_random), False
        self._state = self._rules.start(1, self._generator)
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Array, float, bool, bool, dict[str, Any]]:
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

    def _observation(self) -> Array:
        return self._rules.observe(self._state)[0].numpy()


class BatchEnv(VectorEnv[Array, Array, Array]):
    """Many of one of our environments side by side, stepped in one batch; they are not drawn."""

    def __init__(self, rules: Rules, drawing: Drawing, num_envs: int = 1):
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.num_envs = num_envs
        self.single_observation_space, self.single_action_space = _spaces(rules)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._environment = TensorVectorEnv(rules, num_envs)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        """Begin an episode in each."""
        super().reset(seed=seed)
        return self._environment.reset(_generator(self.np_random)).numpy(), {}

    def step(self, actions: Array) -> tuple[Array, Array, Array, Array, dict[str, Any]]:
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


def _masked(info: Any, rows: Array) -> dict[str, Any]:
    """What is known about a step as Gymnasium has it: beside each array, the rows it is about."""
    arrays = {name: value.numpy() for name, value in info._asdict().items()}
    return arrays | {f"_{name}": rows for name in arrays}


def _spaces(rules: Rules) -> tuple[Box, Discrete]:
    return Box(0.0, 1.0, (rules.width,), np.float32), Discrete(rules.actions)


def _generator(chance: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(chance.integers(2**63)))


def single(rules: Rules, drawing: Drawing, render_mode: str | None = None) -> SingleEnv:
    """Make a `SingleEnv`: of a class Gymnasium takes all its instances to be drawn in one way."""
    return SingleEnv(rules, drawing, render_mode)


def register() -> None:
    """Make known to Gymnasium what is in the registry and not yet known to it."""
    for id in REGISTRY.keys() - gymnasium.registry.keys():
        spec = find_spec(id)
        assert spec.rules is not None
        gymnasium.register(
            id,
            entry_point=f"{__name__}:{single.__name__}",
            vector_entry_point=f"{__name__}:{BatchEnv.__name__}",
            kwargs={"rules": spec.rules(), "drawing": spec.drawing},
        )


register()
