"""The agent: a `SparseMetaRNN` with an actor and a critic, and the environments that it plays."""

import tomllib
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor, nn

from sparsemeta.config import from_dict
from sparsemeta.errors import require
from sparsemeta.nn import MetaRNNState, Percept, SparseMetaRNN
from sparsemeta.rl import environments as envs
from sparsemeta.rl.config import AgentConfig, EnvironmentConfig


class PolicyValue(NamedTuple):
    """What an agent makes of T steps of B environments."""

    logits: Tensor  # (B, T, actions), of the policy
    value: Tensor  # (B, T), the expected sum of discounted rewards to come


class ActorCritic(nn.Module):
    """A recurrent network with fast weights, from which a policy and a value are read.

    `inputs` is W, the width of an observation, `actions` how many there are. A new agent takes
    every action with equal probability and expects nothing.
    """

    def __init__(self, inputs: int, actions: int, config: AgentConfig):
        super().__init__()
        self.inputs, self.actions = inputs, actions
        width, memory = config.width, config.memory if config.adaptive else None
        self.network = SparseMetaRNN(
            inputs, actions, width=width, layers=config.layers, core=config.core, memory=memory
        )
        self.actor, self.critic = nn.Linear(width, actions), nn.Linear(width, 1)
        for head in (self.actor, self.critic):
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)

    @property
    def device(self) -> torch.device:
        """Where the agent is, and all that it plays."""
        return self.actor.weight.device

    def forward(
        self,
        seen: Percept,
        state: MetaRNNState | None = None,
        *,
        fresh: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[PolicyValue, MetaRNNState]:
        """Go through a segment; arguments as those of `SparseMetaRNN`."""
        x, after = self.network(seen, state, fresh=fresh, donate=donate)
        return PolicyValue(self.actor(x), self.critic(x).squeeze(-1)), after


class Player(envs.Agent):
    """A network that plays; it learns within each task by forward passes alone.

    It takes the likeliest action, or one drawn from its policy (`greedy`), and keeps its fast
    weights over the `episodes` of one task. Its `state` is what it remembers of each environment.
    """

    def __init__(self, network: ActorCritic, *, greedy: bool = True, episodes: int = 1):
        self._network, self._greedy, self._episodes = network, greedy, episodes

    def reset(self, environment: envs.VectorEnv, generator: Generator) -> None:
        """Forget everything; B new tasks begin."""
        self._generator = generator
        self._reward = torch.zeros(environment.batch, device=generator.device)
        self._action = self._ended = torch.zeros_like(self._reward, dtype=torch.int64)
        self._done = torch.ones_like(self._reward, dtype=torch.bool)
        self.state = self._network.network.initial_state(environment.batch)

    def act(self, observation: Tensor) -> Tensor:
        """The likeliest action or a draw from the policy, (B,)."""
        logits = self.policy_value(observation).logits
        return logits.argmax(-1) if self._greedy else draw(logits, self._generator)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Note what came of the actions; it is learned from when the next observation comes."""
        self._action, self._reward, self._done = action, reward, done
        self._ended = self._ended + done

    def percept(self, observation: Tensor) -> Percept:
        """An observation (B, W) with what came before it, as one step."""
        told = (observation, self._action, self._reward, self._done)
        return Percept(*(tensor[:, None] for tensor in told))

    @property
    def fresh(self) -> Tensor:
        """(B, 1) bool, whether a new task begins."""
        return (self._done & (self._ended % self._episodes == 0))[:, None]

    @torch.no_grad()
    def policy_value(self, observation: Tensor) -> PolicyValue:
        """Policy and value of an observation (B, W), which the state then remembers: (B, ...)."""
        seen, fresh = self.percept(observation), self.fresh
        found, self.state = self._network(seen, self.state, fresh=fresh, donate=True)
        return PolicyValue(*(tensor[:, 0] for tensor in found))

    @torch.no_grad()
    def value(self, observation: Tensor) -> Tensor:
        """The value (B,) of an observation (B, W), which the state does not remember."""
        found, _ = self._network(self.percept(observation), self.state, fresh=self.fresh)
        return found.value[:, 0]


def draw(logits: Tensor, generator: Generator) -> Tensor:
    """Draw actions (B,) int64 from a policy (B, actions)."""
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)


def to_best_device(agent: ActorCritic) -> ActorCritic:
    """The agent on the GPU where there is one."""
    return agent.to("cuda" if torch.cuda.is_available() else "cpu")


def make(config: EnvironmentConfig, batch: int) -> envs.VectorEnv:
    """B environments side by side; `ConfigError` if there is none such, or of no such spaces."""
    settings, rules = _parse(config.settings), envs.find_spec(config.id).rules
    if rules:
        env = envs.TensorVectorEnv(from_dict(settings, rules, "environment.settings."), batch)
    else:
        told = f"environment.id = {config.id!r}: ours are {', '.join(envs.REGISTRY)}"
        require(not config.id.startswith("sparsemeta/"), told)
        from sparsemeta.rl.gym import GymVectorEnv

        env = GymVectorEnv(config.id, batch, settings)
    return envs.ObservationFilter(env, config.observe) if config.observe else env


def elsewhere(
    config: EnvironmentConfig, id: str | None = None, settings: tuple[str, ...] = ()
) -> EnvironmentConfig:
    """Where to play if not where it was trained: another environment has none of its settings."""
    kept = config.settings if id in (None, config.id) else ()
    return replace(config, id=id or config.id, settings=(*kept, *settings))


def fitting(agent: ActorCritic, config: EnvironmentConfig, batch: int) -> envs.VectorEnv:
    """B environments side by side; `ConfigError` if the agent cannot play them."""
    env = make(config, batch)
    require(
        (env.width, env.actions) == (agent.inputs, agent.actions),
        f"{config.id} has observations of width {env.width} and {env.actions} actions; the "
        f"agent was trained on width {agent.inputs} and {agent.actions} actions. Choose another "
        "environment, or its settings and `observe` so that both are the same.",
    )
    return env


def _parse(settings: tuple[str, ...]) -> dict[str, Any]:
    """Settings written as name=value, a value as TOML has it, or else a plain word."""
    found = {}
    for setting in settings:
        name, equals, value = (part.strip() for part in setting.partition("="))
        require(bool(name and equals), f"environment.settings: {setting!r} is not name=value")
        try:
            found[name] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name] = value
    return found
