"""The agent: a `SparseMetaRNN` with an actor and a critic, and how it plays B environments."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparsemeta.nn.meta_rnn import MetaRNNState, Percept, SparseMetaRNN
from sparsemeta.rl.config import AgentConfig
from sparsemeta.rl.environments import Agent, VectorEnv


class PolicyValue(NamedTuple):
    """What an agent makes of T steps of B environments."""

    logits: Tensor  # (B, T, actions), of the policy
    value: Tensor  # (B, T), the expected sum of discounted rewards to come


class ActorCritic(nn.Module):
    """A recurrent network with fast weights, from which a policy and a value are read.

    A new agent takes every action with equal probability and expects nothing.

    Args:
        inputs: W, the width of an observation.
        actions: how many there are.
        config: the network's settings.
    """

    def __init__(self, inputs: int, actions: int, config: AgentConfig):
        super().__init__()
        self.inputs, self.actions = inputs, actions
        self.network = SparseMetaRNN(
            inputs,
            actions,
            width=config.width,
            layers=config.layers,
            core=config.core,
            memory=config.memory if config.adaptive else None,
        )
        self.actor, self.critic = nn.Linear(config.width, actions), nn.Linear(config.width, 1)
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


class Player(Agent):
    """A network that plays; it learns within each episode by forward passes alone.

    Args:
        network: its weights are only read.
        greedy: take the likeliest action; otherwise draw from the policy.
        episodes: of one task in a row, over which the fast weights are kept.

    Attributes:
        state: what the network remembers of each environment.
    """

    def __init__(self, network: ActorCritic, *, greedy: bool = True, episodes: int = 1):
        self._network, self._greedy, self._episodes = network, greedy, episodes

    def reset(self, environment: VectorEnv, generator: torch.Generator) -> None:
        """Forget everything; B new tasks begin."""
        self._generator, batch, device = generator, environment.batch, generator.device
        self._action = torch.zeros(batch, dtype=torch.int64, device=device)
        self._reward = torch.zeros(batch, device=device)
        self._done = torch.ones(batch, dtype=torch.bool, device=device)
        self._ended = torch.zeros_like(self._action)
        self.state = self._network.network.initial_state(batch)

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
        found, self.state = self._network(
            self.percept(observation), self.state, fresh=self.fresh, donate=True
        )
        return PolicyValue(*(tensor[:, 0] for tensor in found))

    @torch.no_grad()
    def value(self, observation: Tensor) -> Tensor:
        """The value (B,) of an observation (B, W), which the state does not remember."""
        found, _ = self._network(self.percept(observation), self.state, fresh=self.fresh)
        return found.value[:, 0]


def draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw actions (B,) int64 from a policy (B, actions)."""
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)


def to_best_device(agent: ActorCritic) -> ActorCritic:
    """The agent on the GPU where there is one."""
    return agent.to("cuda" if torch.cuda.is_available() else "cpu")
