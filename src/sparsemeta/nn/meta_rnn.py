"""`SparseMetaRNN`: a recurrent network for control, whose layers carry sparse fast weights."""

from itertools import pairwise
from typing import Literal, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from sparsemeta.config import MemoryConfig
from sparsemeta.fast_weights import FastWeights
from sparsemeta.nn.sparse_memory import SparseMemory

CORES = {"gru": nn.GRU, "lstm": nn.LSTM}


class Percept(NamedTuple):
    """All that an agent is told, at T steps of B lives side by side.

    Attributes:
        observation: (B, T, W) float32.
        action: (B, T) int64, the one before; any where nothing came before.
        reward: (B, T) float32, what that action brought.
        done: (B, T) bool, whether that action ended an episode: this step begins another.
    """

    observation: Tensor
    action: Tensor
    reward: Tensor
    done: Tensor


class MetaRNNState(NamedTuple):
    """What B lives have left in a `SparseMetaRNN`.

    Attributes:
        hidden: (layers, parts, B, D), of the recurrent cores; an LSTM's has two parts.
        memory: the fast weights; None in a network without.
    """

    hidden: Tensor
    memory: FastWeights | None

    def clone(self) -> Self:
        """A copy that shares no storage."""
        return self._make((self.hidden.clone(), self.memory and self.memory.clone()))

    def select(self, rows: Tensor) -> Self:
        """Some of the lives: indices or a boolean mask over B."""
        return self._make((self.hidden[:, :, rows], self.memory and self.memory.select(rows)))


class SparseMetaRNN(nn.Module):
    r"""Recurrent layers, each augmented with a fast-weight memory.

    $$u_t = x_t + \mathrm{memory}(x_t, f_t), \quad h_t = u_t + \mathrm{core}(u_t), \quad
      y_t = h_t + \mathrm{mlp}(h_t)$$

    where $x_t$ encodes the observation with the last action, its reward, and whether it ended an
    episode, and the feedback $f_t$ embeds the last three: the outcome of $t-1$ is written under
    $x_{t-1}$. A gated MLP makes the products that a rule applied to an observation is.

    Args:
        inputs: W, the width of an observation.
        width: D, of every layer.
        memory: of every layer; None for the recurrent network alone.

    >>> network = SparseMetaRNN(3, 2, width=16, memory=MemoryConfig(slots=32, active=4))
    >>> seen = Percept(torch.rand(8, 1, 3), torch.zeros(8, 1, dtype=torch.long),
    ...                torch.zeros(8, 1), torch.ones(8, 1, dtype=torch.bool))
    >>> y, state = network(seen)
    >>> y.shape
    torch.Size([8, 1, 16])
    """

    def __init__(
        self,
        inputs: int,
        actions: int,
        *,
        width: int = 64,
        layers: int = 1,
        core: Literal["gru", "lstm"] = "gru",
        memory: MemoryConfig | None = None,
    ):
        super().__init__()
        self.actions, self.width, self.parts = actions, width, 2 if core == "lstm" else 1
        self.encoder = nn.Sequential(
            nn.Linear(inputs + actions + 2, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.outcome = nn.Linear(actions + 2, width) if memory else None
        self.memories = nn.ModuleList(
            [SparseMemory(width, memory) for _ in range(layers)] if memory else []
        )
        self.cores = nn.ModuleList(
            CORES[core](width, width, batch_first=True) for _ in range(layers)
        )
        self.mlps = nn.ModuleList(_gated_mlp(width) for _ in range(layers))

    def initial_state(self, batch: int) -> MetaRNNState:
        """That of B lives which have not begun."""
        like = next(self.parameters())
        hidden = like.new_zeros(len(self.cores), self.parts, batch, self.width)
        named = self.memories.named_children()
        memories = {i: m.initial_state(batch) for i, m in named if isinstance(m, SparseMemory)}
        return MetaRNNState(hidden, FastWeights.join(memories) if memories else None)

    def forward(
        self,
        seen: Percept,
        state: MetaRNNState | None = None,
        *,
        fresh: Tensor | None = None,
        donate: bool = False,
    ) -> tuple[Tensor, MetaRNNState]:
        """Go through a segment, to (B, T, D); a step at a time or many give the same results.

        Args:
            seen: what the agents are told.
            state: what the last segment returned; None is that of lives which have not begun.
            fresh: (B, T) bool, where a new task begins, and so the memory is emptied; None where
                an episode does. The cores forget wherever one does.
            donate: allow the memory passed in to be overwritten, which saves copying it.
        """
        state = state or self.initial_state(len(seen.done))
        fresh = seen.done if fresh is None else fresh
        reset = fresh if fresh.any() else None  # the memory is faster where it need not look
        told = torch.stack([seen.reward, seen.done], dim=-1)
        outcome = torch.cat([one_hot(seen.action, self.actions), told], dim=-1)
        x = self.encoder(torch.cat([seen.observation, outcome], dim=-1))
        feedback = None if self.outcome is None else self.outcome(outcome)

        memories, hidden = {}, []
        for i, (core, mlp) in enumerate(zip(self.cores, self.mlps, strict=True)):
            if state.memory is not None:
                before = state.memory.child(str(i))
                recalled, memories[str(i)] = self.memories[i](
                    x, before, feedback=feedback, reset=reset, donate=donate
                )
                x = x + recalled
            y, after = _recur(core, x, state.hidden[i], seen.done)
            hidden.append(after)
            x = x + y
            x = x + mlp(x)
        memory = FastWeights.join(memories) if memories else None
        return x, MetaRNNState(torch.stack(hidden), memory)


def _gated_mlp(width: int) -> nn.Module:
    return nn.Sequential(
        nn.RMSNorm(width), nn.Linear(width, 4 * width), nn.GLU(), nn.Linear(2 * width, width)
    )


def _recur(core: nn.Module, x: Tensor, hidden: Tensor, begins: Tensor) -> tuple[Tensor, Tensor]:
    """One core over a segment (B, T, D), from empty where an episode begins, (B, T) bool.

    Between two such steps of any life it runs in one call, which is faster than step by step.
    """
    cuts = begins.any(0).nonzero().flatten().tolist()
    found = []
    for start, end in pairwise(sorted({0, *cuts, x.shape[1]})):
        hidden = hidden * ~begins[:, start, None]
        lstm = len(hidden) == 2
        y, after = core(x[:, start:end], (hidden[:1], hidden[1:]) if lstm else hidden)
        hidden = torch.cat(after) if lstm else after
        found.append(y)
    return torch.cat(found, dim=1), hidden
