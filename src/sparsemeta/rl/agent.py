"""The agent: a `SparseMetaRNN` with an actor and a critic, and B lives that it leads."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sparsemeta.nn.meta_rnn import MetaRNNState, Percept, SparseMetaRNN
from sparsemeta.rl.config import AgentConfig
from sparsemeta.rl.environments import World


class Judgement(NamedTuple):
    """What an agent makes of T steps of B lives.

    Attributes:
        logits: (B, T, actions), of the policy.
        value: (B, T), the expected sum of discounted rewards to come.
    """

    logits: Tensor
    value: Tensor


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

    def forward(
        self,
        seen: Percept,
        state: MetaRNNState | None = None,
        *,
        fresh: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[Judgement, MetaRNNState]:
        """Judge a segment; arguments as those of `SparseMetaRNN`."""
        x, after = self.network(seen, state, fresh=fresh, donate=donate)
        return Judgement(self.actor(x), self.critic(x).squeeze(-1)), after


class Lives:
    """B lives of one agent: what each was told last, and the state that it left.

    Args:
        network: the agent; its weights are only read.
        episodes: of one task in a row, over which a life keeps its fast weights.
    """

    def __init__(self, network: ActorCritic, episodes: int = 1):
        self.network, self.episodes = network, episodes

    def begin(self, batch: int, device: torch.device) -> None:
        """Let B lives begin that know nothing."""
        self.action = torch.zeros(batch, dtype=torch.int64, device=device)
        self.reward = torch.zeros(batch, device=device)
        self.done = torch.ones(batch, dtype=torch.bool, device=device)
        self.ended = torch.zeros_like(self.action)
        self.state = self.network.network.initial_state(batch)

    def seen(self, observation: Tensor) -> Percept:
        """An observation (B, W) with what came before it, as one step."""
        told = (observation, self.action, self.reward, self.done)
        return Percept(*(tensor[:, None] for tensor in told))

    @property
    def fresh(self) -> Tensor:
        """(B, 1) bool, whether a new task begins."""
        return (self.done & (self.ended % self.episodes == 0))[:, None]

    @torch.no_grad()
    def judge(self, observation: Tensor) -> Judgement:
        """Judge an observation (B, W) and learn from it, by a forward pass: (B, ...)."""
        judged, self.state = self.network(
            self.seen(observation), self.state, fresh=self.fresh, donate=True
        )
        return Judgement(*(tensor[:, 0] for tensor in judged))

    @torch.no_grad()
    def value(self, observation: Tensor) -> Tensor:
        """What is expected (B,) of an observation (B, W), from which nothing is learned yet."""
        judged, _ = self.network(self.seen(observation), self.state, fresh=self.fresh)
        return judged.value[:, 0]

    def told(self, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Note what was done and what came of it, each (B,)."""
        self.action, self.reward, self.done = action, reward, done
        self.ended = self.ended + done


class Player:
    """A trained agent, played like the scripted ones: `play(environment, Player(agent), ...)`.

    Args:
        network: the agent.
        greedy: take the likeliest action; otherwise draw from the policy.
        episodes: of one task in a row.
    """

    def __init__(self, network: ActorCritic, *, greedy: bool = True, episodes: int = 1):
        self.lives, self.greedy = Lives(network, episodes), greedy

    def reset(self, environment: World, generator: torch.Generator) -> None:
        """Forget everything; B new lives begin."""
        self._generator = generator
        self.lives.begin(environment.batch, generator.device)

    def act(self, observation: Tensor) -> Tensor:
        """Choose by the observations (B, W): actions (B,) int64."""
        logits = self.lives.judge(observation).logits
        return logits.argmax(-1) if self.greedy else draw(logits, self._generator)

    def update(self, observation: Tensor, action: Tensor, reward: Tensor, done: Tensor) -> None:
        """Note what came of it; it is learned from when the next observation comes."""
        self.lives.told(action, reward, done)


def draw(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw actions (B,) int64 from a policy (B, actions)."""
    return torch.multinomial(logits.softmax(-1), 1, generator=generator).squeeze(-1)
